"""Connections to one origin that wait for their next request."""

from __future__ import annotations

import asyncio

from shared.http.connection import Connection


class IdleConnections:
    """A stack: the one used last is taken first. So those beyond need grow old, and are closed after ``idle_s``."""

    def __init__(self, idle_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_s = idle_s
        #: (when it was put here, connection), the oldest first
        self._stack: list[tuple[float, Connection]] = []
        self._sweeper: asyncio.TimerHandle | None = None

    def put(self, connection: Connection) -> None:
        self._stack.append((self._loop.time(), connection))
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._idle_s, self._sweep)

    def take(self) -> Connection | None:
        """One that the peer has left alone, as far as the kernel knows at this moment; None if there is none."""
        while self._stack:
            connection = self._stack.pop()[1]
            if connection.is_quiet():
                return connection
            # Not left to the loop: what came over TLS may be no data, and then nobody would ever close it.
            connection.end("stale")
        return None

    def stop(self) -> None:
        """No more sweeping. The connections are left to their owner."""
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        young = self._loop.time() - self._idle_s
        kept = []
        for since, connection in self._stack:
            if since > young and connection.is_open():
                kept.append((since, connection))
            else:
                connection.end("idle for long")
        self._stack = kept
        self._sweeper = self._loop.call_at(kept[0][0] + self._idle_s, self._sweep) if kept else None
