"""Caches loaded values in memory for one event loop, within a number of entries and a number of bytes.

If several callers miss the same key at the same time, they share one load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")

#: about how many bytes an entry takes besides its value (key, objects, table), for a user or a template
ENTRY_BYTES = 1024


class Loaded(NamedTuple, Generic[V]):
    """Holds a loaded value, how long it may be kept (seconds), and about how much memory it takes (bytes)."""

    value: V
    ttl_s: float
    size_bytes: int


class _Entry(NamedTuple, Generic[V]):
    value: V
    until: float
    size_bytes: int


#: loads the value of a key
Load = Callable[[str], Awaitable[Loaded[V]]]


class TtlCache(Generic[V]):
    """Keeps values in memory, and loads missing ones by ``load``. ``clock`` is monotonic, in seconds.

    There are never more than ``most_entries`` entries, nor more than ``most_bytes`` by their estimated sizes: the
    oldest are dropped first.
    """

    def __init__(
        self, load: Load[V], most_entries: int, most_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._clock = clock
        self._entries: dict[str, _Entry[V]] = {}
        self._loading: dict[str, asyncio.Task[V]] = {}
        #: about how much memory the entries take, bytes
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def loading(self) -> int:
        """Returns the number of loads that have not ended yet."""
        return len(self._loading)

    async def get(self, key: str) -> V:
        """Returns the value of ``key``. Raises the load's error, and then keeps nothing."""
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry.until:
            return entry.value
        load = self._loading.get(key)
        if load is None:
            load = self._loading[key] = asyncio.create_task(self._fill(key))
            load.add_done_callback(lambda _: self._loading.pop(key))
        # A caller that is cancelled must not cancel the load for the others.
        return await asyncio.shield(load)

    async def close(self) -> None:
        """Cancels the loads that have not ended."""
        loads = list(self._loading.values())
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    async def _fill(self, key: str) -> V:
        value, ttl_s, value_bytes = await self._load(key)
        if key in self._entries:
            self._drop(key)
        size_bytes = value_bytes + ENTRY_BYTES
        if size_bytes > self._most_bytes:
            return value
        while len(self._entries) >= self._most_entries or self.bytes + size_bytes > self._most_bytes:
            # Drop the oldest: among entries with the same time to live, it is the next one to expire.
            self._drop(next(iter(self._entries)))
        self._entries[key] = _Entry(value, self._clock() + ttl_s, size_bytes)
        self.bytes += size_bytes
        return value

    def _drop(self, key: str) -> None:
        self.bytes -= self._entries.pop(key).size_bytes
