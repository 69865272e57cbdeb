"""Pools a bounded number of connections that serve one user at a time; it does not depend on their protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Connection(Protocol):
    @property
    def usable(self) -> bool:
        """Tells whether it may serve another user: it is still connected, and in a clean state."""

    def close(self) -> None:
        """Closes it without waiting for the peer; does not raise if the peer has closed already."""


C = TypeVar("C", bound=Connection)


@dataclass(slots=True)
class Lease(Generic[C]):
    """Holds a connection in use. ``reused``: it was idle before, so the peer may have closed it unnoticed."""

    connection: C
    reused: bool


class ConnectionPool(Generic[C]):
    """Keeps at most ``size`` connections; closes those that were idle for longer than ``idle_s`` seconds."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[C]],
        size: int,
        idle_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(size)
        self._idle_s = idle_s
        self._clock = clock
        #: (time at which it was put back, connection), the oldest first.
        self._idle: list[tuple[float, C]] = []
        self._closed = False

    @asynccontextmanager
    async def lease(self, fresh: bool = False) -> AsyncIterator[Lease[C]]:
        """Waits for a free slot and yields a connection: the last one used, or a new one if ``fresh`` or none is idle.

        Afterwards it is closed unless it is ``usable``. Raises any error that connecting raises.
        """
        async with self._slots:
            self._close_stale()
            if self._idle and not fresh:
                lease = Lease(self._idle.pop()[1], reused=True)
            else:
                lease = Lease(await self._connect(), reused=False)
            try:
                yield lease
            finally:
                self._put_back(lease.connection)

    def close(self) -> None:
        """Closes the idle connections now, and those in use when they are put back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _close_stale(self) -> None:
        """Closes connections that were idle for too long, and those that the peer has closed meanwhile."""
        oldest = self._clock() - self._idle_s
        idle, self._idle = self._idle, []
        for since, connection in idle:
            if since > oldest and connection.usable:
                self._idle.append((since, connection))
            else:
                connection.close()

    def _put_back(self, connection: C) -> None:
        if connection.usable and not self._closed:
            self._idle.append((self._clock(), connection))
        else:
            connection.close()
