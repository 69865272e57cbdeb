"""Stores notifications and wakes their users, as the product does, without the way through the queue."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import redis

from shared.clock import now_ms
from shared.metrics import Metrics
from shared.realtime import frames
from shared.realtime.wakeup import ThreadedWakeUps
from shared.store.store import Store
from shared.store.values import BATCH_ROWS, Change, NewNotification

#: With these texts a frame has about 340 bytes; most of them are the names of its fields.
TITLE, BODY = "Hello Ada", "There is news."


class Sender:
    """Sends notifications to users of one database."""

    def __init__(self, store: Store, wake_ups: ThreadedWakeUps) -> None:
        self._store, self._wake_ups = store, wake_ups
        self._numbers = count()
        #: bytes of the last frame
        self.frame_bytes = 0

    def store(self, user_ids: Sequence[str]) -> list[Change]:
        """Stores one notification for each of them. Nobody is told."""
        changes: list[Change] = []
        for first in range(0, len(user_ids), BATCH_ROWS):
            rows = [self._notification(user_id) for user_id in user_ids[first : first + BATCH_ROWS]]
            changes += self._store.insert(rows).changes
        return changes

    def wake(self, changes: Sequence[Change]) -> None:
        """Publishes a wake-up for each change."""
        self.frame_bytes = len(frames.of_change(changes[-1])[-1])
        self._wake_ups.publish(changes)

    def _notification(self, user_id: str) -> NewNotification:
        request_id = f"bench-{next(self._numbers):09}"
        return NewNotification(user_id, request_id, "", "info", "medium", None, TITLE, BODY, "{}", created_ms=now_ms())


@contextmanager
def opened(database_url: str, redis_url: str) -> Iterator[Sender]:
    """Opens a database whose tables are there."""
    store = Store(database_url, connections=1)
    try:
        with redis.Redis.from_url(redis_url) as client:
            yield Sender(store, ThreadedWakeUps(client, Metrics().wakeups_failed))
    finally:
        store.close()
