"""Runs handlers concurrently up to a limit, most urgent lane first, and lets no lane starve."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

import structlog

from shared.broker.incoming import Incoming
from shared.message.channels import PRIORITIES, Lane, Priority
from shared.message.outcome import HoldCause
from shared.worker.forwards import Forwards
from shared.worker.handler import Handler

log = structlog.get_logger(__name__)

#: The task that handles one message; its result is the cause if the message had to be held.
Handling = asyncio.Task["HoldCause | None"]

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
    """Runs handlers of flowing messages, at most ``limit`` at a time.

    It calls ``on_hold`` with each message that cannot be delivered now (unacked and without a claim) and with the
    cause. After such a call it starts no further message until ``flow`` is called.

    A handler takes one of the ``limit`` places, until it ends or the AMQP channel of its message is closed: the broker
    then delivers the message again, and a forward that cannot finish must not keep its place through each reconnection.
    """

    def __init__(
        self, handler: Handler, forwards: Forwards, limit: int, on_hold: Callable[[Incoming, HoldCause], None]
    ) -> None:
        self._handler = handler
        self._forwards = forwards
        self._limit = limit
        self._on_hold = on_hold
        self._running: dict[Handling, Incoming] = {}
        #: Handlers that still run although the AMQP channel of their message is closed; they take no place.
        self._void: dict[Handling, Incoming] = {}
        self._flowing = False
        self._waiting = LaneQueue()

    @property
    def in_flight(self) -> int:
        """Returns the number of messages that are being handled or wait to start."""
        return len(self._running) + len(self._void) + len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Tells whether one more handler may start. Only forwards that cannot finish take all places for long."""
        return len(self._running) < self._limit

    def running_by_lane(self) -> dict[Lane, list[Handling]]:
        """Returns the handlers whose messages are unacked on an open AMQP channel."""
        found: dict[Lane, list[Handling]] = {}
        for task, incoming in self._running.items():
            found.setdefault(incoming.lane, []).append(task)
        return found

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
        """Drops the waiting messages whose AMQP channel is closed, because the broker redelivers them. Others stay.

        Handlers of such messages continue, because their outcome must still be recorded.
        """
        for incoming in self.take_waiting():
            if not incoming.is_void:
                self._waiting.push(incoming)
        for task in [task for task, incoming in self._running.items() if incoming.is_void]:
            self._void[task] = self._running.pop(task)

    def start(self, incoming: Incoming) -> None:
        """Starts this message at once, regardless of the limit."""
        self._track(incoming, self._work(incoming))

    def forward(self, incoming: Incoming, cause: HoldCause) -> None:
        """Starts to forward a message that was held for ``cause`` to its ladder, and returns at once."""
        self._track(incoming, self._requeue(incoming, cause))

    async def handle_one(self, incoming: Incoming) -> HoldCause | None:
        """Handles one message beside the running ones; returns the cause if it had to be held.

        Returns None once it is settled or has reached its forward. If the caller is cancelled, because the worker stops
        or has lost a task, the message is finished anyway.
        """
        task = self._track(incoming, self._work(incoming))
        await self._wait_until(lambda: task.done() or incoming in self._forwards, None)
        return task.result() if task.done() else None

    async def clear(self, within_s: float) -> bool:
        """Waits until a suspect may be handled, and returns True; False if that takes longer than ``within_s`` seconds.

        It may be handled once nothing else is: each other handler has ended or reached its forward. There must be room
        for it too, so that suspects whose forwards cannot finish do not pile up.
        """
        return await self._wait_until(lambda: self.has_room and not self._at_risk(), within_s)

    async def finish(self, within_s: float) -> bool:
        """Waits until no handler runs or is about to start; returns False if that takes longer than ``within_s``."""
        return await self._wait_until(lambda: not (self._running or self._void), within_s)

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
        tasks = [*self._running, *self._void]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _at_risk(self) -> bool:
        """Tells whether a handler runs whose message has not reached its forward."""
        return any(
            incoming not in self._forwards for incoming in itertools.chain(self._running.values(), self._void.values())
        )

    async def _wait_until(self, over: Callable[[], bool], within_s: float | None) -> bool:
        """Waits until ``over()`` is True; looks again whenever a handler ends or a message reaches its forward."""
        loop = asyncio.get_running_loop()
        until = math.inf if within_s is None else loop.time() + within_s
        while not over():
            left_s = until - loop.time()
            if left_s <= 0:
                return False
            changes: list[asyncio.Future[Any]] = [*self._running, *self._void, self._forwards.next_entry()]
            timeout_s = None if within_s is None else left_s
            await asyncio.wait(changes, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return True

    def _fill(self) -> None:
        while len(self._running) < self._limit and (incoming := self._waiting.pop()) is not None:
            self._track(incoming, self._work(incoming))

    def _track(self, incoming: Incoming, work: Coroutine[Any, Any, HoldCause | None]) -> Handling:
        task = asyncio.create_task(work)
        self._running[task] = incoming
        task.add_done_callback(self._done)
        return task

    def _done(self, task: Handling) -> None:
        if self._running.pop(task, None) is None:
            self._void.pop(task, None)
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

    async def _requeue(self, incoming: Incoming, cause: HoldCause) -> None:
        try:
            await self._handler.requeue(incoming, cause)
        except Exception:
            log.exception("handler_failed", lane=incoming.lane.routing_key)
