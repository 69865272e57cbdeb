"""Keeps the inboxes tidy while the system runs: what is expired or too old is removed, and the devices are told.

Every worker process of the channel does it; they find what is left to do in the database, so it does not matter how
many they are. ``./notify store tidy`` does the same once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator

import structlog

from shared.errors import StoreUnavailable
from shared.realtime.wakeup import WakeUps
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.values import Change

log = structlog.get_logger(__name__)

#: How often expired notifications are removed, seconds; each time varies by a fifth, so that processes do not meet.
EVERY_S = 60.0
#: How often those that are older than ``INBOX_DAYS`` are removed, and the traces of what was removed long ago.
RETAIN_EVERY_S = 3_600.0


class Upkeep:
    """Removes at intervals what is expired, and less often what is too old."""

    def __init__(
        self,
        store: Store,
        threads: StoreThreads,
        wake_ups: WakeUps,
        days: float,
        *,
        every_s: float = EVERY_S,
        retain_every_s: float = RETAIN_EVERY_S,
    ) -> None:
        self._store, self._threads, self._wake_ups = store, threads, wake_ups
        self._days = days
        self._every_s, self._retain_every_s = every_s, retain_every_s
        self._retain_at = 0.0

    async def run(self) -> None:
        """Runs until it is cancelled. It continues while the database is unavailable; any other error is raised.

        So it raises SchemaMismatch if the database was unavailable when the process started, and does not fit now.
        """
        silent = False
        while True:
            await asyncio.sleep(self._every_s * random.uniform(0.8, 1.2))
            try:
                await self._tidy()
                silent = False
            except StoreUnavailable as exc:
                if not silent:
                    log.warning("inboxes_not_tidied", error=str(exc))
                silent = True

    async def _tidy(self) -> None:
        await self._threads.read(self._store.check_schema)
        removed = await self._remove(self._store.expire())
        purged = 0
        if time.monotonic() >= self._retain_at:
            removed += await self._remove(self._store.retain(self._days))
            # It takes many transactions, between which the writer goes on.
            purged = await self._threads.read(self._store.purge)
            self._retain_at = time.monotonic() + self._retain_every_s
        if removed or purged:
            log.info("inboxes_tidied", removed=removed, purged=purged)

    async def _remove(self, steps: Iterator[list[Change]]) -> int:
        """Carries out one transaction after the other, and wakes the devices after each. Returns how many rows went."""
        removed = 0
        while (changes := await self._threads.write(lambda: next(steps, None))) is not None:
            removed += sum(len(change.rows) for change in changes)
            await self._wake_ups.publish(changes)
        return removed
