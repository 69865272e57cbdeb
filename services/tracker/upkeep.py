"""Removes what is older than EVENTS_DAYS from the timeline, once an hour."""

from __future__ import annotations

import asyncio

import structlog

from shared.clock import now_ms
from shared.errors import StoreUnavailable
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.timeline.timeline import Timeline

log = structlog.get_logger(__name__)

EVERY_S = 3600.0
_DAY_MS = 86_400_000


class Upkeep:
    """Keeps the timeline small."""

    def __init__(self, store: Store, threads: StoreThreads, days: float, every_s: float = EVERY_S) -> None:
        self._timeline, self._threads = Timeline(store.database), threads
        self._kept_ms, self._every_s = round(days * _DAY_MS), every_s

    async def run(self) -> None:
        """Removes until it is cancelled. A database that is away is tried again the next time."""
        while True:
            try:
                removed = await self._threads.write(self._timeline.retain, now_ms() - self._kept_ms)
                if removed:
                    log.info("timeline_shortened", deliveries=removed)
            except StoreUnavailable as exc:
                log.warning("timeline_not_shortened", error=str(exc))
            await asyncio.sleep(self._every_s)
