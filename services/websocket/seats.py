"""Keeps the register of this node's connections in Redis, and ends those that are one too many.

While Redis is unavailable every connection is accepted, and the limit is that of this node alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from typing import Any, Protocol

import structlog

from services.websocket.socket_metrics import SocketMetrics
from shared import clock
from shared.errors import RedisUnavailable
from shared.logs import log_death
from shared.realtime.close_codes import EVICTED, CloseCode
from shared.realtime.presence import Presence
from shared.store.values import Owner

log = structlog.get_logger(__name__)

#: Connections that are registered or looked for together.
_AT_ONCE = 128


class Seat(Protocol):
    """Is one connection that counts towards the limit of its user."""

    connection: str
    since_ms: int | None

    @property
    def owner(self) -> Owner: ...

    def end(self, code: CloseCode, after_ms: int | None = None) -> None: ...


class Seats:
    """Owns the connections of this node that count. ``seats_of`` returns those of a user, oldest first."""

    def __init__(
        self, presence: Presence, per_user: int, metrics: SocketMetrics, seats_of: Callable[[Owner], Sequence[Seat]]
    ) -> None:
        self._presence = presence
        self._per_user = per_user
        self._seats_of = seats_of
        self._metrics = metrics
        self._seats: dict[str, Seat] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._seats)

    def all(self) -> list[Seat]:
        """Returns every connection."""
        return list(self._seats.values())

    def take(self, seat: Seat) -> None:
        """Registers a new connection; the oldest one of its user ends if there are too many."""
        self._seats[seat.connection] = seat
        self._run(self._register(seat))

    def give_back(self, seat: Seat) -> None:
        """Removes a connection that has ended."""
        if self._seats.pop(seat.connection, None) is not None:
            self._run(self._remove(seat))

    def kick(self, connection: str) -> None:
        """Evicts a connection, if it is here."""
        seat = self._seats.get(connection)
        if seat is not None:
            self._metrics.evicted.inc()
            log.info("connection_evicted", connection=connection)
            seat.end(EVICTED)

    async def register_all(self) -> None:
        """Registers every connection again: Redis may have lost them. Raises nothing."""
        await self._each(self.all(), self._register)

    async def register_lost(self) -> None:
        """Registers the connections again that are missing. Raises nothing.

        One that was evicted without being told learns it now. One that is missing because Redis was emptied stays.
        """
        await self._each(self.all(), self._register_if_lost)

    async def settled(self, timeout_s: float) -> None:
        """Waits until Redis has been told of all that has ended."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def _register_if_lost(self, seat: Seat) -> None:
        if not await self._presence.held(seat.owner, seat.connection) and seat.connection in self._seats:
            await self._register(seat)

    async def _register(self, seat: Seat) -> None:
        try:
            registered = await self._presence.connect(seat.owner, seat.connection, seat.since_ms)
        except RedisUnavailable:
            if seat.since_ms is None:
                seat.since_ms = clock.now_ms()
            self._evict_here(seat.owner)
            return
        seat.since_ms = registered.since_ms
        if seat.connection not in self._seats:
            # It has ended meanwhile; its removal may have come first.
            await self._remove(seat)
        elif registered.evicted:
            self.kick(seat.connection)

    async def _remove(self, seat: Seat) -> None:
        try:
            await self._presence.disconnect(seat.owner, seat.connection)
        except RedisUnavailable:
            # The entry counts until this node's key or the user's hash ends, or a full hash is cleaned.
            log.warning("connection_not_removed", connection=seat.connection)

    def _evict_here(self, owner: Owner) -> None:
        for seat in self._seats_of(owner)[: -self._per_user]:
            self.kick(seat.connection)

    @staticmethod
    async def _each(seats: Sequence[Seat], do: Callable[[Seat], Coroutine[Any, Any, None]]) -> None:
        left = iter(seats)
        while some := list(islice(left, _AT_ONCE)):
            answers = await asyncio.gather(*(do(seat) for seat in some), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException) and not isinstance(answer, RedisUnavailable):
                    raise answer
            if all(isinstance(answer, RedisUnavailable) for answer in answers):
                return

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_death)
