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

A message that has reached its forward counts as settled in every mode, and other messages are handled beside it (see
``forwards``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import structlog

from shared.message.channels import lanes_of
from shared.worker.executor import Executor, Handling
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
            while self._signals.calm and self._executor.has_room:
                incoming = await self._supply.take(lane)
                if incoming is None:
                    break
                # Handlers from before a reconnection may still run.
                if is_suspect(incoming) and not await self._clear():
                    break
                if await self._executor.handle_one(incoming) is not None:
                    return "paused"
                if not is_suspect(incoming):
                    break
        return "wide"

    async def wide(self) -> Mode:
        """Starts the held messages, then lets all lanes flow."""
        signals, supply = self._signals, self._supply
        signals.cause = None
        self._resume_held()
        self._executor.flow()
        if signals.suspects:
            return "alone"
        # The broker does not count messages that were delivered before against a new consumer. So its prefetch is
        # smaller by their number until they are done: those that were held, and forwards under way.
        before = self._executor.running_by_lane()
        await supply.flow({lane: len(handlings) for lane, handlings in before.items()})
        done = {lane: self._all_done(handlings) for lane, handlings in before.items()}
        while signals.calm:
            if signals.suspects:
                return "alone"
            if signals.cause is not None:
                return "paused"
            for lane in [lane for lane, drained in done.items() if drained.done()]:
                del done[lane]
                await supply.widen(lane)
            await signals.wait(supply.repair_in_s())
            if supply.repair_in_s() == 0:
                self._executor.forget_void()
                await supply.repair()
        self._executor.stop_starting()
        return "careful"

    def _resume_held(self) -> None:
        """Starts the held messages except the suspects, which it sets aside."""
        for kept in self._held.take_all():
            if is_suspect(kept.incoming):
                self._signals.suspect(kept.incoming)
            else:
                self._executor.start(kept.incoming)

    def _all_done(self, handlings: Sequence[Handling]) -> asyncio.Future[Any]:
        """Returns a future that is done when all these handlers are; the running mode is woken then."""
        drained = asyncio.gather(*handlings, return_exceptions=True)
        drained.add_done_callback(lambda _: self._signals.wake())
        return drained

    async def alone(self) -> Mode:
        """Handles each suspect while no other message is handled in this process."""
        signals = self._signals
        log.warning("suspects_delivered", channel=self._channel, count=len(signals.suspects))
        await self._supply.cancel()
        while signals.suspects and await self._clear():
            self._executor.stop_starting()
            if await self._executor.handle_one(signals.suspects.popleft()) is not None:
                return "paused"
        return "wide"

    async def _clear(self) -> bool:
        """Waits until a suspect may be handled; returns False if this mode has to end first."""
        while self._signals.calm:
            if await self._executor.clear(self._finish_s):
                return True
            # Everything that a handler waits for has a time limit, so this ends; an operator should know if it lasts.
            log.warning("suspect_waits", channel=self._channel, running=self._executor.in_flight)
        return False
