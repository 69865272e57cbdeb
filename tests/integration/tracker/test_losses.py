"""Tests that no event and no notification is lost: the database away, RabbitMQ refusing events, unreadable messages."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import orjson
import pika
import psycopg
import pytest

from ops.servers import PostgreSQLServer, RabbitMQServer
from services.tracker import intake as module
from shared.broker import topology
from shared.broker.publisher import Publication
from shared.events.reporter import reporter_for
from shared.events.wire import encode
from shared.metrics import Metrics
from shared.store.store import Store
from shared.store.timeline.rows import Wanted
from shared.store.timeline.timeline import Timeline
from tests.support.stores import Databases
from tests.support.timelines import TrackerBench, report, reporting, told, tracking
from tests.support.waiting import eventually_async
from tests.support.workbench import ScriptedProvider, quick_settings, running


async def taken(tracker: TrackerBench, queue: str) -> list[tuple[dict[str, Any], bytes]]:
    """Takes everything out of a queue. Returns headers and bodies."""
    channel = await tracker.publisher.connection.channel()
    found = []
    while (answer := await channel.get(queue)) is not None:
        method, properties, body = answer
        found.append((dict(properties.headers or {}), body))
        channel.raw.basic_ack(method.delivery_tag)
    await channel.close()
    return found


async def publish(tracker: TrackerBench, body: bytes) -> None:
    await tracker.publisher.publish(Publication(topology.EVENTS_EXCHANGE, "test", body, {}))


async def test_while_the_database_is_away_nothing_is_acked_and_then_everything_is_written(
    vhost_url: str, databases: Databases, postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPEAT_CAP_S", 0.2)
    with databases.empty("postgresql") as url:
        name = url.rpartition("/")[2].partition("?")[0]
        admin = psycopg.connect(postgresql.url, autocommit=True)
        async with tracking(vhost_url, url) as tracker:
            await tracker.reporter.confirmed(tracker.reporter.report(report(told("accepted"), request_id="before")))
            await tracker.idle()
            # Nobody may connect any more, and whoever is connected is cut off.
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            admin.execute(b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            for n in range(100):
                await tracker.reporter.confirmed(
                    tracker.reporter.report(report(told("sent", 5, provider="fcm"), request_id=f"r-{n}"))
                )
            await eventually_async(lambda: not tracker.intake.store_up)
            assert tracker.intake.in_flight + await tracker.ready() > 0
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
            await tracker.idle()
            rows = tracker.timeline.page(Wanted(status="sent"), None, 1_000).items
            assert sorted(row.request_id for row in rows) == sorted(f"r-{n}" for n in range(100))
            assert tracker.intake.store_up
        admin.close()


async def test_a_tracker_that_dies_before_its_ack_writes_nothing_twice(
    vhost_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tracking(vhost_url, database_url) as tracker:
        story = report(told("accepted"), told("attempted", 3, provider="fcm"), told("sent", 4, provider="fcm"))
        for _ in range(3):
            await publish(tracker, encode([story]))
        await tracker.idle()
        assert tracker.kinds("r-1") == ["accepted", "attempted", "sent"]
        assert tracker.rows("r-1")[0].attempts == 1

    # This one is cut off after its commit: the messages come back.
    first = Store(database_url)
    async with tracking(vhost_url, database_url) as tracker:
        monkeypatch.setattr("shared.message.incoming.Incoming.ack", lambda _incoming: None)
        await publish(tracker, encode([report(told("attempted", 3, provider="fcm"), request_id="r-2")]))
        await eventually_async(lambda: [row.attempts for row in Timeline(first.database).of_request("r-2")[0]] == [1])
        monkeypatch.undo()
    async with tracking(vhost_url, database_url) as tracker:
        await tracker.idle()
        assert tracker.rows("r-2")[0].attempts == 1
    first.close()


async def test_what_nobody_can_read_is_parked_and_keeps_out_nothing_else(vhost_url: str, database_url: str) -> None:
    async with tracking(vhost_url, database_url) as tracker:
        good = report(told("sent", 1, provider="fcm"), request_id="good")
        bad = [*report(told("sent")), "too many"]
        await publish(tracker, b"no JSON")
        await publish(tracker, orjson.dumps({"v": 1, "reports": [bad, good]}))
        await tracker.idle()
        assert [row.status for row in tracker.rows("good")] == ["sent"]
        assert tracker.count("notify_events_rejected_total") == 2
        parked = await taken(tracker, topology.FAILED_QUEUE)
        reasons = {headers["notify-failed-reason"] for headers, _ in parked}
        assert reasons == {"invalid_event"}
        assert [headers["notify-failed-queue"] for headers, _ in parked] == ["events.queue"] * 2
        bodies = sorted(body for _, body in parked)
        assert b"no JSON" in bodies
        assert orjson.loads(next(body for body in bodies if body != b"no JSON"))["reports"] == orjson.loads(
            orjson.dumps([bad])
        )


async def test_events_of_a_time_that_is_not_kept_any_more_bring_nothing_back(vhost_url: str, database_url: str) -> None:
    async with tracking(vhost_url, database_url, days=1) as tracker:
        await publish(tracker, encode([report(told("read", 5), request_id="old", accepted_ms=1_000)]))
        await tracker.idle()
        assert tracker.rows("old") == []


async def test_deliveries_do_not_wait_for_a_timeline_that_nobody_takes(
    vhost_url: str, redis_url: str, vhost: str, rabbitmq: RabbitMQServer
) -> None:
    """events.queue is full: RabbitMQ refuses every event. The notifications are delivered and acked all the same."""
    provider = ScriptedProvider()
    settings = quick_settings(vhost_url, redis_url)
    async with (
        reporting(vhost_url) as events,
        running(settings, [provider], events=events, start=False) as bench,
    ):
        rabbitmq.ctl("set_policy", "-p", vhost, "full", "^events.queue$", '{"max-length":0}', "--apply-to", "queues")
        await _until_full(bench, events)
        bench.start()
        ids = [await bench.put() for _ in range(60)]
        began = asyncio.get_running_loop().time()
        await eventually_async(lambda: sorted(provider.accepted) == sorted(ids))
        await eventually_async(lambda: bench.worker.in_flight == 0)
        assert asyncio.get_running_loop().time() - began < 5
        assert await bench.ready("push.queue") == 0
        assert events.refused
        assert bench.count("notify_delivered_total", channel="push", provider="fcm") == 60
        kept = events.kept
        assert kept >= 60
        rabbitmq.ctl("clear_policy", "-p", vhost, "full")
        await eventually_async(lambda: events.kept == 0)
        assert await bench.ready("events.queue") >= 1


async def _until_full(bench: Any, events: Any) -> None:
    """Publishes until RabbitMQ applies the policy."""

    async def refused() -> bool:
        await events.confirmed(events.report(report(told("accepted"), request_id="probe")))
        return bool(events.refused)

    await eventually_async(refused, 20)


async def test_deliveries_go_on_if_the_events_may_not_even_be_declared(vhost_url: str, redis_url: str) -> None:
    """A queue with other arguments stops a process that needs it; nobody who delivers needs this one."""
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(vhost_url))) as connection:
        connection.channel().queue_declare("events.queue", durable=True, arguments={"x-queue-type": "classic"})
    provider = ScriptedProvider()
    settings = quick_settings(vhost_url, redis_url)
    events = reporter_for(settings, "push", "bench", Metrics().events_lost.inc)
    assert events is not None
    events.start()
    async with running(settings, [provider], events=events) as bench:
        ids = [await bench.put() for _ in range(20)]
        await eventually_async(lambda: sorted(provider.accepted) == sorted(ids))
        await eventually_async(lambda: bench.worker.in_flight == 0)
        assert events.refused
    await events.close()
