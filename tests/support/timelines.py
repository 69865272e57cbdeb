"""Runs a tracker in a test's own loop, and looks at what it has written."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from services.tracker.intake import Intake
from services.tracker.source import Source
from shared.broker import topology
from shared.broker.publisher import Publication, Publisher
from shared.clock import now_ms
from shared.events.event import Event, Happening, Report, events_of, happening
from shared.events.reporter import Reporter
from shared.events.wire import encode
from shared.metrics import Metrics
from shared.store.store import Store
from shared.store.threads import CONNECTIONS, StoreThreads
from shared.store.timeline.rows import Delivery, Told
from shared.store.timeline.timeline import Timeline
from tests.support.publishing import publishing
from tests.support.waiting import eventually_async

#: When the notifications of these tests were accepted.
ACCEPTED_MS = 1_795_161_600_000


def report(
    *told: Happening,
    request_id: str = "r-1",
    client: str = "shop",
    channel: str = "push",
    user_id: str = "ada",
    priority: str = "medium",
    accepted_ms: int = ACCEPTED_MS,
    replay: int = 0,
    attempt: int = 0,
    deferrals: int = 0,
    mark: str = "",
) -> Report:
    """Returns a report; the fields stand for those that a test does not care for."""
    named = (client, request_id, channel, user_id, priority, "info")
    return (*named, accepted_ms, replay, attempt, deferrals, mark, told)


def told(kind: Any, after_ms: int = 0, **fields: Any) -> Happening:
    """Returns what happened so many milliseconds after the acceptance."""
    return happening(kind, ACCEPTED_MS + after_ms, **fields)


def events(*reports: Report) -> list[Event]:
    return [event for one in reports for event in events_of(one)]


@dataclass
class TrackerBench:
    """Holds a running tracker, and what a test needs to talk to it."""

    store: Store
    timeline: Timeline
    intake: Intake
    source: Source
    publisher: Publisher
    reporter: Reporter
    metrics: Metrics
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def rows(self, request_id: str) -> list[Delivery]:
        return self.timeline.of_request(request_id)[0]

    def told(self, request_id: str) -> list[Told]:
        return self.timeline.of_request(request_id)[1]

    def kinds(self, request_id: str) -> list[str]:
        return [one.kind for one in self.told(request_id)]

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def idle(self) -> None:
        """Returns once everything that was published has been written and acked: a last event shows that."""
        await eventually_async(lambda: self.reporter.kept == 0)
        name = f"idle-{next(self.numbers)}"
        message = encode([report(told("skipped"), request_id=name, accepted_ms=now_ms())])
        await self.publisher.publish(Publication(topology.EVENTS_EXCHANGE, "test", message, {}))
        await eventually_async(lambda: self.rows(name) and self.intake.in_flight == 0)

    async def ready(self, queue: str = topology.EVENTS_LANE.queue) -> int:
        """Returns how many messages wait in the queue."""
        channel = await self.publisher.connection.channel()
        answer = await channel.call(channel.raw.queue_declare, queue=queue, passive=True)
        await channel.close()
        return int(answer.method.message_count)


@asynccontextmanager
async def reporting(url: str, source: str = "push", metrics: Metrics | None = None) -> AsyncIterator[Reporter]:
    """Yields a reporter that is connected."""
    metrics = metrics or Metrics()
    publisher = Publisher(url, "tells", levels_s=(), deadline_s=1, max_pending=2, parts=topology.event_parts())
    reporter = Reporter(publisher, source, metrics.events_lost.inc)
    reporter.start()
    await asyncio.wait_for(publisher.connection.wait_up(), 30)
    try:
        yield reporter
    finally:
        await reporter.close()


@asynccontextmanager
async def tracking(amqp_url: str, database_url: str, *, days: float = 36_500) -> AsyncIterator[TrackerBench]:
    """Yields a tracker that runs in this loop until the block ends."""
    metrics, store, threads = Metrics(), Store(database_url, CONNECTIONS), StoreThreads()
    async with publishing(amqp_url) as publisher, reporting(amqp_url, metrics=metrics) as reporter:
        intake = Intake(store, threads, publisher, metrics, days)
        source = Source(amqp_url, "tracker", intake, metrics)
        source.start()
        tasks = [asyncio.create_task(source.run()), asyncio.create_task(intake.run())]
        try:
            yield TrackerBench(store, Timeline(store.database), intake, source, publisher, reporter, metrics)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await source.close()
            await threads.close()
            store.close()
