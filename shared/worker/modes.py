"""Implements three of the four modes in which a worker takes messages from its lanes; ``pause`` has the fourth.

careful   One message at a time in the whole process, lane by lane, until a message that is no suspect has been settled
          in that lane, or the lane is empty. After a crash the broker requeues the messages at the heads of their
          lanes, so a message that crashes its process is then handled alone. Every start and every reconnection begins
          in this mode.
wide      All lanes flow. A suspect that is delivered is set aside, and ends the mode.
alone     The lanes are cancelled, running handlers finish, then the suspects are handled one by one. They are not
          requeued: each requeue brings a message nearer to its delivery limit, and two workers would pass it back and
          forth.
paused    No lane flows, because nothing can be delivered. One message at a time is tried until the cause is over.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import structlog

from shared.message.channels import lanes_of
from shared.worker.executor import Executor
from shared.worker.pause import Held
from shared.worker.poison import is_suspect
from shared.worker.signals import Signals
from shared.worker.supply import Supply

log = structlog.get_logger(__name__)

Mode = Literal["careful", "wide", "alone", "paused"]


class Flow:
    """Runs the modes careful, wide and alone. Each runs until a report ends it, and returns the next mode."""

    def __init__(
        self, channel: str, executor: Executor, held: Held, supply: Supply, signals: Signals, finish_s: float
    ) -> None:
        self._channel = channel
        self._lanes = lanes_of(channel)
        self._executor = executor
        self._held = held
        self._supply = supply
        self._signals = signals
        self._finish_s = finish_s

    async def careful(self) -> Mode:
        """Handles the first message of each lane alone."""
        for lane in self._lanes:
            while self._signals.calm:
                incoming = await self._supply.take(lane)
                if incoming is None:
                    break
                if is_suspect(incoming):
                    # Handlers from before a reconnection may still run.
                    await self._executor.finish(self._finish_s)
                if await self._executor.handle_one(incoming) is not None:
                    return "paused"
                if not is_suspect(incoming):
                    break
        return "wide"

    async def wide(self) -> Mode:
        """Starts the held messages, then lets all lanes flow."""
        signals, supply = self._signals, self._supply
        signals.cause = None
        # The broker does not count held messages against a new consumer. So its prefetch is smaller by their number
        # until they are done.
        held = self._held.by_lane()
        drained = self._resume_held() if held else None
        self._executor.flow()
        if signals.suspects:
            return "alone"
        await supply.flow(held)
        while signals.calm:
            if signals.suspects:
                return "alone"
            if signals.cause is not None:
                return "paused"
            if drained is not None and drained.done():
                drained = None
                await supply.widen(held)
            await signals.wait(supply.repair_in_s())
            if supply.repair_in_s() == 0:
                await supply.repair()
        self._executor.stop_starting()
        return "careful"

    def _resume_held(self) -> asyncio.Future[Any]:
        """Starts the held messages except the suspects, which it sets aside.

        Returns a future that is done when all started messages are.
        """
        innocent = []
        for kept in self._held.take_all():
            if is_suspect(kept.incoming):
                self._signals.suspect(kept.incoming)
            else:
                innocent.append(kept.incoming)
        drained = self._executor.start_all(innocent)
        drained.add_done_callback(lambda _: self._signals.wake())
        return drained

    async def alone(self) -> Mode:
        """Handles each suspect while nothing else runs in this process."""
        signals = self._signals
        log.warning("suspects_delivered", channel=self._channel, count=len(signals.suspects))
        await self._supply.cancel()
        await self._executor.finish(self._finish_s)
        self._executor.stop_starting()
        while signals.suspects and signals.calm:
            if await self._executor.handle_one(signals.suspects.popleft()) is not None:
                return "paused"
        return "wide"
