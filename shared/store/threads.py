"""Calls the store from an asyncio loop: with one thread for writes and two for reads.

One writer is enough: the transactions of a process would only wait for each other's locks, and while one commits the
next batch gathers. Writes keep the order in which they were made. Two readers keep a long pull from delaying the
others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from prometheus_client import Counter

from shared.errors import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

READERS = 2
#: The connections that a store needs that only these threads use.
CONNECTIONS = 1 + READERS


class StoreThreads:
    """Owns the three threads. A call that is cancelled is carried out all the same; only its result is dropped.

    ``unavailable`` counts the calls that raise StoreUnavailable, also those whose caller has gone.
    """

    def __init__(self, unavailable: Counter | None = None) -> None:
        self._unavailable = unavailable
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(READERS, "store-reader")

    async def write(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``call``, a method of the store that writes, after those that were given before."""
        return await self._run(self._writer, call, *args, **kwargs)

    async def read(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``call``, a method of the store that reads."""
        return await self._run(self._readers, call, *args, **kwargs)

    async def _run(self, pool: ThreadPoolExecutor, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def counted() -> T:
            try:
                return call(*args, **kwargs)
            except StoreUnavailable:
                if self._unavailable is not None:
                    self._unavailable.inc()
                raise

        return await asyncio.get_running_loop().run_in_executor(pool, counted)

    async def close(self) -> None:
        """Waits for the calls that run, and drops those that have not begun."""
        for pool in (self._writer, self._readers):
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)
