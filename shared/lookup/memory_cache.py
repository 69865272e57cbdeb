"""A bounded cache for one event loop, in which any number of callers that miss the same key make one load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

V = TypeVar("V")

#: loads a key: the value, and for how many seconds it may be kept
Load = Callable[[str], Awaitable[tuple[V, float]]]


class TtlCache(Generic[V]):
    """``get`` answers from memory, else by ``load``. ``clock`` is monotonic, in seconds."""

    def __init__(self, load: Load[V], most_entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._most_entries = most_entries
        self._clock = clock
        self._entries: dict[str, tuple[V, float]] = {}
        self._loading: dict[str, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def loading(self) -> int:
        """Loads under way."""
        return len(self._loading)

    async def get(self, key: str) -> V:
        """The value. Raises what the load raises, and keeps nothing then."""
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry[1]:
            return entry[0]
        load = self._loading.get(key)
        if load is None:
            load = self._loading[key] = asyncio.create_task(self._fill(key))
            load.add_done_callback(lambda _: self._loading.pop(key))
        # One caller that is cancelled must not take the load from the others.
        return await asyncio.shield(load)

    async def close(self) -> None:
        """End the loads under way."""
        loads = list(self._loading.values())
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    async def _fill(self, key: str) -> V:
        value, ttl_s = await self._load(key)
        self._entries.pop(key, None)
        while len(self._entries) >= self._most_entries:
            # The oldest: among entries that live equally long, the next to end.
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (value, self._clock() + ttl_s)
        return value
