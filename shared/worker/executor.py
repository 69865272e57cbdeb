"""Runs handlers concurrently up to a limit, most urgent lane first, and lets no lane starve."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import structlog

from shared.broker.incoming import Incoming
from shared.message.channels import PRIORITIES, Priority
from shared.message.outcome import HoldCause
from shared.worker.handler import Handler

log = structlog.get_logger(__name__)

#: Longest time that a stopping worker spends on recording the messages that it has not begun, seconds.
RECORD_UNTRIED_S = 2.0
#: Each lane with waiting messages gets at least one of this many starts.
FLOOR_ONE_OF = 10

_ORDERS: tuple[tuple[Priority, ...], ...] = (
    *((PRIORITIES,) * (FLOOR_ONE_OF - 2)),
    ("medium", "high", "low"),
    ("low", "high", "medium"),
)


class LaneQueue:
    """Holds the messages that were delivered and not started yet."""

    def __init__(self) -> None:
        self._waiting: dict[Priority, deque[Incoming]] = {priority: deque() for priority in PRIORITIES}
        self._starts = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def push(self, incoming: Incoming) -> None:
        self._waiting[incoming.lane.priority].append(incoming)

    def pop(self) -> Incoming | None:
        """Returns the next message to start, or None.

        Eight of ten starts prefer the most urgent lane; one prefers medium and one prefers low.
        """
        for priority in _ORDERS[self._starts % FLOOR_ONE_OF]:
            if self._waiting[priority]:
                self._starts += 1
                return self._waiting[priority].popleft()
        return None

    def drain(self) -> Iterator[Incoming]:
        """Takes out all messages, high first."""
        for waiting in self._waiting.values():
            while waiting:
                yield waiting.popleft()


class Executor:
    """Runs at most ``limit`` handlers of flowing messages at a time.

    It calls ``on_hold`` with each message that cannot be delivered now (unacked and without a claim) and with the
    cause. After such a call it starts no further message until ``flow`` is called.
    """

    def __init__(self, handler: Handler, limit: int, on_hold: Callable[[Incoming, HoldCause], None]) -> None:
        self._handler = handler
        self._limit = limit
        self._on_hold = on_hold
        self._running: set[asyncio.Task[HoldCause | None]] = set()
        self._flowing = False
        self._waiting = LaneQueue()

    @property
    def in_flight(self) -> int:
        """Returns the number of messages that are being handled or wait to start."""
        return len(self._running) + len(self._waiting)

    def add(self, incoming: Incoming) -> None:
        """Takes a delivered message, and starts it as soon as its turn comes."""
        self._waiting.push(incoming)
        if self._flowing:
            self._fill()

    def flow(self) -> None:
        """Starts the waiting messages, and from now on each added one when its turn comes."""
        self._flowing = True
        self._fill()

    def stop_starting(self) -> None:
        """Starts no new handler; the running ones continue."""
        self._flowing = False

    def take_waiting(self) -> list[Incoming]:
        """Takes out every message that was delivered and not started, high first."""
        return list(self._waiting.drain())

    def forget_void(self) -> None:
        """Drops the waiting messages whose AMQP channel is closed, because the broker redelivers them. Others stay."""
        for incoming in self.take_waiting():
            if not incoming.is_void:
                self._waiting.push(incoming)

    def start_all(self, messages: Iterable[Incoming]) -> asyncio.Future[Any]:
        """Starts all of these at once, regardless of the limit; the future is done when all their handlers are."""
        tasks = [asyncio.create_task(self._work(incoming)) for incoming in messages]
        for task in tasks:
            self._track(task)
        return asyncio.gather(*tasks, return_exceptions=True)

    async def handle_one(self, incoming: Incoming) -> HoldCause | None:
        """Handles one message beside the running ones and waits for it; returns the cause if it had to be held."""
        task = asyncio.create_task(self._work(incoming))
        self._track(task)
        # A stop may cancel the caller; the message is finished anyway.
        return await asyncio.shield(task)

    async def finish(self, within_s: float) -> bool:
        """Waits until no handler runs or is about to start; returns False if that takes longer than ``within_s``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while self._running:
            left_s = until - loop.time()
            if left_s <= 0:
                return False
            await asyncio.wait(set(self._running), timeout=left_s)
        return True

    async def record_untried(self, others: Iterable[Incoming] = ()) -> None:
        """Records the waiting messages, and ``others``, as not begun: a stopping worker leaves them to the broker."""
        untried = [*self.take_waiting(), *others]
        if not untried:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECORD_UNTRIED_S):
                await asyncio.gather(*map(self._handler.record_untried, untried))

    async def abandon(self) -> None:
        """Cancels the running handlers; the broker requeues their messages when the channel closes."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _fill(self) -> None:
        while len(self._running) < self._limit and (incoming := self._waiting.pop()) is not None:
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
            # The message stays unacked, so it is not lost: the broker redelivers it when the channel closes.
            log.exception("handler_failed", lane=incoming.lane.routing_key)
            return None
        if cause is not None:
            self._flowing = False
            self._on_hold(incoming, cause)
        return cause
