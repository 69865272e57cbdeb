"""Reads the timeline for the HTTP API, and counts it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import prometheus_client

from gateway.http.auth import ANONYMOUS
from gateway.http.problem import RETRY_SOON_S, Problem, unavailable
from gateway.timeline.answers import (
    DeliveryPage,
    HourCount,
    Latency,
    Stats,
    TimelineAnswer,
    shown_client,
    state_of,
    timeline_of,
)
from gateway.timeline.cursors import cursor_of, read_cursor
from shared.clock import rfc3339
from shared.errors import SchemaMismatch, StoreUnavailable
from shared.store.store import Store
from shared.store.timeline.rows import Count, Counts, Wanted
from shared.store.timeline.timeline import Timeline

#: How many requests of one process may use the timeline at a time. A database that has stopped holds each for seconds.
MOST_AT_ONCE = 16


class Timelines:
    """Answers what became of notifications.

    Every method raises StoreUnavailable, SchemaMismatch, and Problem 503 if too many requests wait for the database.
    """

    def __init__(self, store: Store, unavailable_count: prometheus_client.Counter) -> None:
        """``unavailable_count`` counts the requests that the database did not answer."""
        self._store, self._unavailable_count = store, unavailable_count
        self._timeline = Timeline(store.database)
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)

    def of_request(self, request_id: str, client: str | None) -> TimelineAnswer | None:
        """Returns the timeline of a notification, None if there is none.

        Raises Problem 422 if several clients have used the id, and none is named.
        """
        with self._place():
            rows, told = self._timeline.of_request(request_id, client)
        clients = sorted({row.client for row in rows})
        if not clients:
            return None
        if len(clients) > 1:
            names = ", ".join(name or ANONYMOUS for name in clients)
            raise Problem(422, "several clients have used this request_id", [("client", f"name one of {names}")])
        return TimelineAnswer(
            request_id=request_id,
            client=shown_client(clients[0]),
            channels=[timeline_of(row, told) for row in rows],
        )

    def page(self, wanted: Wanted, cursor: str | None, limit: int) -> DeliveryPage:
        """Returns a part of the list. Raises Problem 422 for a cursor that is none."""
        after = read_cursor(cursor)
        with self._place():
            part = self._timeline.page(wanted, after, limit)
        return DeliveryPage(items=[state_of(row) for row in part.items], next=cursor_of(part.next))

    def stats(self, wanted: Wanted, since_ms: int, until_ms: int) -> Stats:
        """Counts what was selected."""
        with self._place():
            counts = self._timeline.counts(wanted)
        return stats_of(counts, since_ms, until_ms)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise unavailable("too many requests wait for the timeline", RETRY_SOON_S)
        try:
            # A database that did not answer when the process started was not checked then.
            self._store.check_schema()
            yield
        except (StoreUnavailable, SchemaMismatch):
            self._unavailable_count.inc()
            raise
        finally:
            self._places.release()


def stats_of(counts: Counts, since_ms: int, until_ms: int) -> Stats:
    """Adds up the counts."""
    latencies: dict[str, list[tuple[int, int]]] = {}
    for channel, ms, number in counts.latencies:
        latencies.setdefault(channel, []).append((ms, number))
    return Stats.model_validate(
        {
            "since": rfc3339(since_ms),
            "until": rfc3339(until_ms),
            "total": sum(count.number for count in counts.counts),
            "by_channel": _by("channel", counts.counts),
            "by_status": _by("status", counts.counts),
            "by_priority": _by("priority", counts.counts),
            "by_type": _by("type", counts.counts),
            "by_hour": list(_by_hour(counts.counts)),
            "latency": latency_of([each for some in latencies.values() for each in some]),
            "latency_by_channel": {channel: latency_of(some) for channel, some in sorted(latencies.items())},
        }
    )


def latency_of(latencies: Iterable[tuple[int, int]]) -> Latency:
    """Returns the percentiles of (milliseconds, how many)."""
    ascending = sorted(latencies)
    count = sum(number for _, number in ascending)
    return Latency(
        count=count,
        p50_ms=_percentile(ascending, count, 50),
        p95_ms=_percentile(ascending, count, 95),
        p99_ms=_percentile(ascending, count, 99),
    )


def _percentile(ascending: Sequence[tuple[int, int]], count: int, percent: int) -> int | None:
    passed = 0
    for ms, number in ascending:
        passed += number
        if passed * 100 >= count * percent:
            return ms
    return None


def _by(name: str, counts: Iterable[Count]) -> dict[str, int]:
    numbers: Counter[str] = Counter()
    for count in counts:
        # A message that was published without the gateway may have told no type.
        numbers[getattr(count, name) or "unknown"] += count.number
    return dict(sorted(numbers.items()))


def _by_hour(counts: Sequence[Count]) -> Iterator[HourCount]:
    for hour_ms in sorted({count.hour_ms for count in counts}):
        own = [count for count in counts if count.hour_ms == hour_ms]
        yield HourCount.model_validate(
            {
                "hour": rfc3339(hour_ms),
                "count": sum(count.number for count in own),
                "by_status": _by("status", own),
            }
        )
