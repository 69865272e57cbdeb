"""Knows which messages this process is forwarding, and since when.

A message that has reached its forward has survived its handling: nothing that reads it runs any more, so it cannot
crash the process. Its publish is repeated until RabbitMQ confirms it, which may take as long as an alarm lasts. So no
mode waits for a forward; only a stop does, for a limited time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.message.incoming import Incoming
from shared.metrics import Metrics


class Forwards:
    """Lists the messages being forwarded. The settler adds and removes them; the executor waits for additions."""

    def __init__(self, channel: str, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._since: dict[Incoming, float] = {}
        self._clock = clock
        self._next_entry: asyncio.Future[None] | None = None
        metrics.forwards.labels(channel).set_function(lambda: len(self))
        metrics.oldest_forward.labels(channel).set_function(lambda: self.oldest_s)

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, incoming: Incoming) -> bool:
        return incoming in self._since

    @property
    def oldest_s(self) -> float:
        """Returns how many seconds the oldest forward has taken so far; 0 if there is none."""
        # Entries are in the order of their beginnings.
        since = next(iter(self._since.values()), None)
        return 0.0 if since is None else self._clock() - since

    @contextmanager
    def entered(self, incoming: Incoming) -> Iterator[None]:
        """Lists this message while the block runs."""
        self._since[incoming] = self._clock()
        if self._next_entry is not None:
            self._next_entry.set_result(None)
            self._next_entry = None
        try:
            yield
        finally:
            del self._since[incoming]

    def next_entry(self) -> asyncio.Future[None]:
        """Returns a future that is done once a further message has reached its forward. It is shared: do not cancel."""
        if self._next_entry is None:
            self._next_entry = asyncio.get_running_loop().create_future()
        return self._next_entry
