"""Keeps the connections to one origin: opens them, counts them, lets calls wait for one, and closes them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohappyeyeballs

from shared.errors import Unavailable
from shared.http.connection import Connection, Listener
from shared.http.proxy import Proxy
from shared.http.request import Origin

#: if an address does not answer for this long, the next one is tried in parallel, seconds: dead IPv6 routes are common
_NEXT_ADDRESS_S = 0.25


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Holds the limits of a pool: times in seconds, and the most ``connections`` to one origin."""

    connect_timeout_s: float
    idle_s: float
    connections: int


class Pool:
    """Gives each call a connection to ``origin``.

    A call is ``take()`` or else ``await obtain()``, then one ``ask``, then always ``leave()``, also after an error.
    At most ``limits.connections`` calls run at once; the others wait in the order in which they came.
    """

    def __init__(
        self, origin: Origin, tls: ssl.SSLContext | None, limits: PoolLimits, proxy: Proxy | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._origin = origin
        self._tls = tls
        self._limits = limits
        self._proxy = proxy
        self._calls = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._idle = IdleConnections(limits.idle_s)
        self._open: set[Connection] = set()
        self._waits: set[asyncio.Timeout] = set()
        self._closed = False

    def take(self) -> Connection | None:
        """Takes a place and the idle connection that was used last. Returns None if ``obtain`` must be awaited."""
        # While a call waits in the queue, all places are taken, so no call can overtake it here.
        if self._calls >= self._limits.connections:
            return None
        connection = self._idle.take()
        if connection is not None:
            self._calls += 1
        return connection

    async def obtain(self, timeout_s: float) -> Connection:
        """Does the same as ``take``, but waits for a place and, if needed, for a fresh connection.

        Raises Unavailable, never ambiguous, after ``timeout_s`` seconds.
        """
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
        """Passes the call's place to the call that has waited longest."""
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._calls -= 1

    def close(self) -> None:
        """Closes everything; waiting calls raise Unavailable. The sockets close in the loop's next turns."""
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
                # The place came together with the timeout or the cancellation: without this call nothing would free it.
                self.leave()

    async def _connect(self, left_s: float) -> Connection:
        timeout_s = min(left_s, self._limits.connect_timeout_s)
        try:
            async with self._at_most(timeout_s, "no connection"):
                connection = await dial(self._origin, self._tls, self._proxy, self._idle.put, self._open.discard)
        except OSError as exc:
            raise Unavailable(f"no connection: {exc.strerror or exc}") from exc
        if self._closed or not connection.is_open():
            connection.end("the client was closed")
            raise Unavailable("no connection: it was closed before the request was written")
        self._open.add(connection)
        return connection

    @asynccontextmanager
    async def _at_most(self, timeout_s: float, what: str) -> AsyncIterator[None]:
        """Raises Unavailable when ``timeout_s`` seconds have passed, or the pool is closed."""
        try:
            async with asyncio.timeout(timeout_s) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError as exc:
            why = "the client was closed" if self._closed else f"waited {timeout_s:g} s"
            raise Unavailable(f"{what}: {why}") from exc


class IdleConnections:
    """Keeps the connections that wait for their next request, as a stack: the one used last is taken first.

    Connections that are not needed therefore stay at its bottom, and are closed after ``idle_s`` seconds.
    """

    def __init__(self, idle_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_s = idle_s
        #: (loop time when it was put here, connection), the oldest first
        self._stack: list[tuple[float, Connection]] = []
        self._sweeper: asyncio.TimerHandle | None = None

    def put(self, connection: Connection) -> None:
        self._stack.append((self._loop.time(), connection))
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._idle_s, self._sweep)

    def take(self) -> Connection | None:
        """Returns the newest connection on which the peer has sent nothing and which it has not closed, or None."""
        while self._stack:
            connection = self._stack.pop()[1]
            if connection.is_quiet():
                return connection
            # Close it here, not in the loop: over TLS the waiting bytes may hold no data, and then it would stay open.
            connection.end("the server has sent or closed while it was idle")
        return None

    def stop(self) -> None:
        """Stops closing old connections. Their owner closes them."""
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        young = self._loop.time() - self._idle_s
        kept = []
        for since, connection in self._stack:
            if since > young and connection.is_open():
                kept.append((since, connection))
            else:
                connection.end("it was idle for too long")
        self._stack = kept
        self._sweeper = self._loop.call_at(kept[0][0] + self._idle_s, self._sweep) if kept else None


def client_tls() -> ssl.SSLContext:
    """Returns a context that checks certificates and names by the system's authorities, or by SSL_CERT_FILE."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(
    origin: Origin, tls: ssl.SSLContext | None, proxy: Proxy | None, on_idle: Listener, on_lost: Listener
) -> Connection:
    """Connects, including the tunnel and the TLS handshake, and returns the connection; writes no request.

    Raises OSError.
    """
    loop = asyncio.get_running_loop()
    host, port = (proxy.host, proxy.port) if proxy is not None else (origin.host, origin.port)
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    opened = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1)
    hostname = origin.host if tls is not None else None
    if proxy is not None:
        connection = Connection(on_idle, on_lost)
        transport: asyncio.Transport | None = await proxy.tunnel(opened, origin)
        if transport is not None:
            transport.set_protocol(connection)
        if transport is not None and tls is not None:
            transport = await loop.start_tls(transport, connection, tls, server_hostname=hostname)
        if transport is None:
            raise ConnectionResetError("the connection was lost during the TLS handshake")
        # A transport that existed before its protocol does not call this.
        connection.connection_made(transport)
        return connection
    _, connection = await loop.create_connection(
        lambda: Connection(on_idle, on_lost), sock=opened, ssl=tls, server_hostname=hostname
    )
    return connection
