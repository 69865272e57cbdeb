"""The connections to one origin: kept, counted, waited for, closed."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.errors import Unavailable
from shared.http.connection import Connection
from shared.http.dial import dial
from shared.http.idle import IdleConnections
from shared.http.request import Origin


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Times in seconds; ``connections`` is how many there may be to one origin."""

    connect_timeout_s: float
    idle_s: float
    connections: int


class Pool:
    """A call is ``take()`` or else ``await obtain()``, one ``ask``, and ``leave()`` whatever came of it.

    At most ``limits.connections`` calls at once; the rest wait, first come, first served.
    """

    def __init__(self, origin: Origin, tls: ssl.SSLContext | None, limits: PoolLimits) -> None:
        self._loop = asyncio.get_running_loop()
        self._origin = origin
        self._tls = tls
        self._limits = limits
        self._calls = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._idle = IdleConnections(limits.idle_s)
        self._open: set[Connection] = set()
        self._waits: set[asyncio.Timeout] = set()
        self._closed = False

    def take(self) -> Connection | None:
        """The idle connection that was used last, and a place among the calls; None if ``obtain`` has to be awaited."""
        # While anybody queues, all places are taken: nobody is overtaken here.
        if self._calls >= self._limits.connections:
            return None
        connection = self._idle.take()
        if connection is not None:
            self._calls += 1
        return connection

    async def obtain(self, timeout_s: float) -> Connection:
        """As ``take``, waiting for a place and for a fresh connection. Raises Unavailable, never ambiguous."""
        began = self._loop.time()
        await self._enter(timeout_s)
        connection = None
        try:
            connection = self._idle.take() or await self._connect(timeout_s - (self._loop.time() - began))
            return connection
        finally:
            if connection is None:
                self.leave()

    def leave(self) -> None:
        """Give the call's place to the one who has waited longest."""
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._calls -= 1

    def close(self) -> None:
        """Close everything; whoever waits gets Unavailable. Sockets close in the loop's next turns."""
        self._closed = True
        self._idle.stop()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(self._loop.time())
        for connection in list(self._open):
            connection.end("the client was closed")

    async def _enter(self, timeout_s: float) -> None:
        if self._calls < self._limits.connections:
            self._calls += 1
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(waiter)
        entered = False
        try:
            async with self._at_most(timeout_s, "all connections are in use"):
                await waiter
                entered = True
        finally:
            if not entered and waiter.done() and not waiter.cancelled():
                # The place came together with the timeout or the cancellation: without this it would be lost for ever.
                self.leave()

    async def _connect(self, left_s: float) -> Connection:
        timeout_s = min(left_s, self._limits.connect_timeout_s)
        try:
            async with self._at_most(timeout_s, "no connection"):
                connection = await dial(self._origin, self._tls, self._idle.put, self._open.discard)
        except OSError as exc:
            raise Unavailable(f"no connection: {exc.strerror or exc}") from exc
        if self._closed or not connection.is_open():
            connection.end("the client was closed")
            raise Unavailable("no connection: closed before the request")
        self._open.add(connection)
        return connection

    @asynccontextmanager
    async def _at_most(self, timeout_s: float, what: str) -> AsyncIterator[None]:
        """Raise Unavailable when ``timeout_s`` is over, or the pool is closed."""
        try:
            async with asyncio.timeout(timeout_s) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError as exc:
            why = "the client was closed" if self._closed else f"{timeout_s:g} s"
            raise Unavailable(f"{what}: {why}") from exc
