"""Finds out for ``/health`` whether the store of the inboxes answers."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait

from shared.errors import SchemaMismatch, StoreUnavailable
from shared.store.store import Store

#: How long a report waits for the store, seconds. One that takes longer counts as down.
PATIENCE_S = 1.0


class StoreProbe:
    """Asks the store, with a query that touches no row, in a thread of its own. Other tables count as down, too.

    A store that has stopped answers after several seconds. Until then every report says that it is down, and no second
    thread waits.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "store-probe")
        self._lock = threading.Lock()
        self._asked: Future[bool] | None = None

    def is_up(self) -> bool:
        """Tells whether it answers within PATIENCE_S."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = self._thread.submit(self._ask)
            asked = self._asked
        done, _ = wait([asked], PATIENCE_S)
        return bool(done) and asked.result()

    def _ask(self) -> bool:
        try:
            self._store.check_schema()
            self._store.positions(())
        except (StoreUnavailable, SchemaMismatch):
            return False
        return True
