"""Which requests this process is working on, so that two copies of one do not race each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_Key = tuple[str, str]


class InFlight:
    """Thread-safe. Keys are (client, request_id)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[_Key] = set()

    @contextmanager
    def hold(self, keys: list[_Key]) -> Iterator[list[bool]]:
        """Yields, for each key in order, whether it is ours until the end of the block; a key twice is ours once."""
        ours: list[bool] = []
        with self._lock:
            for key in keys:
                ours.append(key not in self._keys)
                self._keys.add(key)
        try:
            yield ours
        finally:
            with self._lock:
                self._keys.difference_update(key for key, mine in zip(keys, ours, strict=True) if mine)
