"""What the broker and the handlers report to the mode that runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from shared.broker.incoming import Incoming
from shared.message.channels import Lane
from shared.message.outcome import HoldCause
from shared.worker.supply import BrokenLanes


class Signals:
    """Notes each report and wakes the mode that runs. Callbacks only note; the modes act."""

    def __init__(self, broken: BrokenLanes) -> None:
        self.broken = broken
        #: suspects that were delivered and wait, unacked, for the mode "alone"
        self.suspects: deque[Incoming] = deque()
        #: why the last message that was held could not be delivered; None while nothing is held
        self.cause: HoldCause | None = None
        self.connection_lost = False
        self.stopped = asyncio.Event()
        self._wake = asyncio.Event()

    @property
    def calm(self) -> bool:
        """Whether a mode may go on: no stop was asked for, and the connection is the one that the mode began with."""
        return not (self.stopped.is_set() or self.connection_lost)

    def stop(self) -> None:
        """Ask the worker to stop."""
        self.stopped.set()
        self._wake.set()

    def suspect(self, incoming: Incoming) -> None:
        """Report a message that may have killed the processes that handled it."""
        self.suspects.append(incoming)
        self._wake.set()

    def hold(self, cause: HoldCause) -> None:
        """Report that messages cannot be delivered now."""
        self.cause = cause
        self._wake.set()

    def trouble(self, lane: Lane | None) -> None:
        """Report that a lane has lost its consumer; None: that the connection, and with it every lane, was lost."""
        if lane is None:
            self.connection_lost = True
            # No lane is repaired by itself then: all of them begin again, with one message at a time.
            self.broken.clear()
        else:
            self.broken.add(lane)
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    def forget_wakes(self) -> None:
        """Let ``wait`` wait although something was reported before this call."""
        self._wake.clear()

    async def wait(self, within_s: float | None) -> None:
        """Return at the next report, or after ``within_s`` seconds (None: however long it takes)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._wake.wait()
        self._wake.clear()
