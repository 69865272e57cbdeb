"""Carries reports of the broker and the handlers to the running mode."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from shared.broker.incoming import Incoming
from shared.message.channels import Lane
from shared.message.outcome import HoldCause
from shared.worker.supply import BrokenLanes


class Signals:
    """Stores each report and wakes the running mode. Callbacks only store; the modes act."""

    def __init__(self, broken: BrokenLanes) -> None:
        self.broken = broken
        #: The delivered suspects, which wait unacked for the mode "alone".
        self.suspects: deque[Incoming] = deque()
        #: The cause for which the last held message could not be delivered; None while nothing is held.
        self.cause: HoldCause | None = None
        self.connection_lost = False
        self.stopped = asyncio.Event()
        self._wake = asyncio.Event()

    @property
    def calm(self) -> bool:
        """Tells whether a mode may continue: no stop was requested, and no connection was lost since it began."""
        return not (self.stopped.is_set() or self.connection_lost)

    def stop(self) -> None:
        """Asks the worker to stop."""
        self.stopped.set()
        self._wake.set()

    def suspect(self, incoming: Incoming) -> None:
        """Reports a message that may have crashed the processes that handled it."""
        self.suspects.append(incoming)
        self._wake.set()

    def hold(self, cause: HoldCause) -> None:
        """Reports that messages cannot be delivered now."""
        self.cause = cause
        self._wake.set()

    def trouble(self, lane: Lane | None) -> None:
        """Reports that a lane has lost its consumer; None reports the loss of the connection, and so of every lane."""
        if lane is None:
            self.connection_lost = True
            # No single lane is repaired then: all of them begin again, with one message at a time.
            self.broken.clear()
        else:
            self.broken.add(lane)
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    def forget_wakes(self) -> None:
        """Clears earlier reports' wake-ups, so that ``wait`` waits for the next report."""
        self._wake.clear()

    async def wait(self, within_s: float | None) -> None:
        """Returns at the next report, or after ``within_s`` seconds; None waits without a limit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._wake.wait()
        self._wake.clear()
