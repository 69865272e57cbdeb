"""A bounded pool of connections that serve one user at a time; it knows nothing of what they speak."""

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
        """Whether it may serve another user: still connected, and in a clean state."""

    def close(self) -> None:
        """End it without waiting for the peer; never raises for one that is gone already."""


C = TypeVar("C", bound=Connection)


@dataclass(slots=True)
class Lease(Generic[C]):
    """A connection in use. ``reused``: it has idled, so the peer may have closed it unseen."""

    connection: C
    reused: bool


class ConnectionPool(Generic[C]):
    """At most ``size`` connections; those that idled longer than ``idle_s`` are closed, not used."""

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
        #: (when it was put back, connection), the oldest first
        self._idle: list[tuple[float, C]] = []
        self._closed = False

    @asynccontextmanager
    async def lease(self, fresh: bool = False) -> AsyncIterator[Lease[C]]:
        """Wait for a free slot and hand out a connection: the one last used, or a new one if ``fresh`` or none idles.

        It is closed afterwards unless it is ``usable``. Raises whatever connecting raises.
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
        """Close what idles now, and what is in use when it comes back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _close_stale(self) -> None:
        """Also those that the peer has closed meanwhile."""
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
