"""The handlers at work in this process: started in the order of the lanes, at most so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from shared.broker.incoming import Incoming
from shared.message.outcome import HoldCause
from shared.worker.handler import Handler
from shared.worker.held import Held
from shared.worker.lanes import LaneQueue

log = structlog.get_logger(__name__)


class Crew:
    """``on_hold`` is called when a handler found that nothing can be delivered now; its message is in ``held``."""

    def __init__(self, handler: Handler, limit: int, on_hold: Callable[[HoldCause], None]) -> None:
        self._handler = handler
        self._limit = limit
        self._on_hold = on_hold
        self._running: set[asyncio.Task[HoldCause | None]] = set()
        self._flowing = False
        self.waiting = LaneQueue()
        self.held = Held()

    @property
    def in_flight(self) -> int:
        """Messages in hand: at work, waiting to start, or held."""
        return len(self._running) + len(self.waiting) + len(self.held)

    def add(self, incoming: Incoming) -> None:
        """A message was delivered: start it as soon as its turn comes."""
        self.waiting.push(incoming)
        if self._flowing:
            self._fill()

    def flow(self) -> None:
        """Start whatever waits, from now on."""
        self._flowing = True
        self._fill()

    def resume_held(self) -> asyncio.Future[Any]:
        """Start what was held, before anything else; the future is done when all of it is."""
        tasks = [asyncio.create_task(self._work(kept.incoming)) for kept in self.held.take_all()]
        for task in tasks:
            self._track(task)
        return asyncio.gather(*tasks, return_exceptions=True)

    def stop_starting(self) -> None:
        """What is at work goes on; nothing new starts."""
        self._flowing = False

    def forget_void(self) -> None:
        """What a channel brought that is gone, and was not begun, will come again. What came since is not touched."""
        for incoming in list(self.waiting.drain()):
            if not incoming.is_void:
                self.waiting.push(incoming)
        self.held.forget_void()

    def hold_waiting(self, cause: HoldCause) -> None:
        for incoming in self.waiting.drain():
            self.held.keep(incoming, cause)

    async def handle_one(self, incoming: Incoming) -> HoldCause | None:
        """Handle one message beside whatever else is at work, and wait for it; the cause if it had to be held."""
        task = asyncio.create_task(self._work(incoming))
        self._track(task)
        # Whoever waits for it may be cancelled by a stop; the message is finished all the same.
        return await asyncio.shield(task)

    async def let_go(self, incoming: Incoming, cause: HoldCause) -> None:
        await self._handler.let_go(incoming, cause)

    async def finish(self, within_s: float) -> bool:
        """Wait until nothing is at work, nor about to start; False if that took longer than ``within_s`` seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while self._running:
            left_s = until - loop.time()
            if left_s <= 0:
                return False
            await asyncio.wait(set(self._running), timeout=left_s)
        return True

    async def abandon(self) -> None:
        """Cancel what is still at work; its messages return to their queues."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _fill(self) -> None:
        while len(self._running) < self._limit and (incoming := self.waiting.pop()) is not None:
            self._track(asyncio.create_task(self._work(incoming)))

    def _track(self, task: asyncio.Task[HoldCause | None]) -> None:
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[HoldCause | None]) -> None:
        self._running.discard(task)
        if self._flowing:
            self._fill()

    async def _work(self, incoming: Incoming) -> HoldCause | None:
        try:
            cause = await self._handler.handle(incoming)
        except Exception:
            # It stays unacked, so it is not lost: the broker gives it out again when the channel ends.
            log.exception("handler_failed", lane=incoming.lane.routing_key)
            return None
        if cause is not None:
            self.held.keep(incoming, cause)
            self._on_hold(cause)
        return cause
