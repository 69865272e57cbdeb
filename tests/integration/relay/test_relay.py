"""Tests the relay with a real PostgreSQL and a real RabbitMQ: exactly what is committed is published."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from ops.servers import RabbitMQServer
from services.relay import relay as relay_module
from services.relay.relay import Relay, health_of
from services.relay.relay_metrics import RelayMetrics
from shared.broker.publisher import Publisher
from shared.settings.groups.outbox import Wake
from shared.store.outbox import Bell, Outbox
from tests.support.outbox import headers, insert, queued
from tests.support.publishing import publishing
from tests.support.waiting import eventually_async


@asynccontextmanager
async def relaying(
    outbox_url: str, vhost_url: str, wake: Wake = "flag", client: str = "", **options: Any
) -> AsyncIterator[tuple[Relay, Publisher, CollectorRegistry]]:
    registry = CollectorRegistry()
    async with publishing(vhost_url, **options) as publisher:
        relay = Relay(Outbox(outbox_url), Bell(outbox_url), publisher, RelayMetrics(registry), wake=wake, client=client)
        running = asyncio.create_task(relay.run())
        try:
            yield relay, publisher, registry
        finally:
            relay.stop()
            await running


async def arrived(vhost_url: str, ids: list[str], deadline_s: float = 10) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async def all_there() -> bool:
        found[:] = await asyncio.to_thread(queued, vhost_url)
        return {one["request_id"] for one in found} >= set(ids)

    await eventually_async(all_there, deadline_s, 0.1)
    return found


async def marked(upstream: psycopg.Connection[Any], count: int, deadline_s: float = 10) -> list[tuple[Any, ...]]:
    """Waits until this number of rows is marked; returns (request_id, was published, error) of each row."""

    rows: list[tuple[Any, ...]] = []

    def enough() -> bool:
        rows[:] = upstream.execute(
            "SELECT request_id, published_at IS NOT NULL, error FROM notification_outbox "
            "WHERE published_at IS NOT NULL OR failed_at IS NOT NULL ORDER BY id"
        ).fetchall()
        upstream.rollback()
        return len(rows) >= count

    await eventually_async(enough, deadline_s)
    return rows


@pytest.mark.parametrize("wake", ["flag", "always", "poll"])
async def test_committed_rows_are_published_and_others_are_not(
    wake: Wake, outbox_url: str, upstream: psycopg.Connection[Any], vhost_url: str
) -> None:
    insert(upstream, 5, "gone")
    upstream.rollback()
    first = insert(upstream, 3, "first")
    upstream.commit()
    async with relaying(outbox_url, vhost_url, wake):
        await arrived(vhost_url, first)
        second = insert(upstream, 2, "second")
        upstream.commit()
        found = await arrived(vhost_url, second)
        await marked(upstream, 5)
    assert sorted(one["request_id"] for one in found) == sorted(first + second)
    assert found[0] == {
        "request_id": found[0]["request_id"],
        "notification_type": "websocket",
        "user_id": "u1",
        "content": {"title": "New message", "body": "You have a new message"},
        "type": "info",
        "priority": "medium",
    }


async def test_a_relay_that_sleeps_is_woken_long_before_it_would_look(
    outbox_url: str, upstream: psycopg.Connection[Any], vhost_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "POLL_S", 60.0)
    async with relaying(outbox_url, vhost_url) as (relay, _, _):

        def asleep() -> bool:
            [flag] = upstream.execute("SELECT asleep FROM relay_state").fetchone() or (False,)
            upstream.rollback()
            return bool(flag)

        await eventually_async(asleep)
        ids = insert(upstream, 1, "a")
        upstream.commit()
        await arrived(vhost_url, ids, 20)
        # The next sleep would last until the end of the test.
        relay.stop()
        insert(upstream, 1, "b")
        upstream.commit()


async def test_every_channel_priority_type_and_a_whole_envelope(
    outbox_url: str, upstream: psycopg.Connection[Any], vhost_url: str
) -> None:
    upstream.execute(
        "INSERT INTO notification_outbox (request_id, user_id, title, message, type, priority, channel) "
        "VALUES ('r-1', 'u1', 'Hello', 'Text', 'warning', 'high', 'both')"
    )
    upstream.execute(
        "INSERT INTO notification_outbox (request_id, envelope) VALUES ('r-2', "
        """'{"notification_type": "sms", "recipient": {"phone": "+15550100"}, "content": {"body": "b"}}')"""
    )
    upstream.execute(
        "INSERT INTO notification_outbox (request_id, envelope) VALUES ('unused', "
        """'{"request_id": "r-3", "notification_type": "push", "user_id": "u1", "template_code": "T"}')"""
    )
    upstream.commit()
    async with relaying(outbox_url, vhost_url, client="shop"):
        found = await arrived(vhost_url, ["r-1", "r-2", "r-3"])
        await marked(upstream, 3)
    assert sorted((one["request_id"], one["notification_type"]) for one in found) == [
        ("r-1", "email"),
        ("r-1", "websocket"),
        ("r-2", "sms"),
        ("r-3", "push"),
    ]
    assert {one["notify-client"] for one in headers(vhost_url)} == {"shop"}


async def test_a_life_begins_when_the_row_is_made(
    outbox_url: str, upstream: psycopg.Connection[Any], vhost_url: str
) -> None:
    insert(upstream, 1, "a")
    upstream.execute("UPDATE notification_outbox SET created_at = '2026-01-02T03:04:05.678Z'")
    upstream.commit()
    async with relaying(outbox_url, vhost_url):
        await arrived(vhost_url, ["a-0"])
    assert [one["notify-accepted-at"] for one in headers(vhost_url)] == ["2026-01-02T03:04:05.678Z"]


@pytest.mark.parametrize(
    ("columns", "values", "error"),
    [
        ("user_id, title, message, channel", "'u1', 't', 'm', 'fax'", "channel:"),
        ("user_id, title, message, type", "'u1', 't', 'm', 'loud'", "type:"),
        ("user_id, title, message, priority", "'u1', 't', 'm', 'urgent'", "priority:"),
        ("user_id, title", "'u1', 't'", "message:"),
        ("user_id, message", "'u1', 'm'", "title: required for websocket"),
        ("title, message", "'t', 'm'", "user_id:"),
        ("request_id, user_id, title, message", "'a b', 'u1', 't', 'm'", "request_id:"),
        ("envelope", """'{"notification_type": "push"}'""", "envelope.content:"),
        ("envelope", "'[1]'", "a notification is a JSON object"),
        ("envelope", "'null'", "a notification is a JSON object"),
        ("envelope", """jsonb_build_object('metadata', repeat('x', 70000))""", "at most 65536"),
    ],
)
async def test_a_row_that_is_no_notification_says_why_and_keeps_nobody_waiting(
    columns: str, values: str, error: str, outbox_url: str, upstream: psycopg.Connection[Any], vhost_url: str
) -> None:
    upstream.execute(f"INSERT INTO notification_outbox ({columns}) VALUES ({values})")
    ids = insert(upstream, 1, "good")
    upstream.commit()
    async with relaying(outbox_url, vhost_url) as (_, _, registry):
        await arrived(vhost_url, ids)
        bad, good = await marked(upstream, 2)
        assert registry.get_sample_value("notify_outbox_failed_total") == 1
    assert good == ("good-0", True, None)
    assert bad[1] is False
    assert error in bad[2]


async def test_an_insert_into_a_table_of_the_upstream_is_published_too(
    outbox_url: str, upstream: psycopg.Connection[Any], vhost_url: str
) -> None:
    upstream.execute(
        "CREATE TABLE notifications (id serial PRIMARY KEY, user_id text, title text, message text, "
        "type text DEFAULT 'info', is_read boolean DEFAULT false, created_at timestamptz DEFAULT now())"
    )
    upstream.execute(
        "CREATE TRIGGER notify AFTER INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION notification_outbox_copy()"
    )
    upstream.execute(
        "INSERT INTO notifications (user_id, title, message, type) "
        "VALUES ('user123', 'New Message', 'You have a new message', 'success')"
    )
    upstream.commit()
    async with relaying(outbox_url, vhost_url):
        [found] = await arrived(vhost_url, ["notifications-1"])
    assert (found["user_id"], found["type"], found["content"]["body"]) == (
        "user123",
        "success",
        "You have a new message",
    )


async def test_a_transaction_that_stays_open_while_others_commit_is_not_skipped(
    outbox_url: str, upstream: psycopg.Connection[Any], vhost_url: str
) -> None:
    late = insert(upstream, 1, "late")
    async with relaying(outbox_url, vhost_url):
        with psycopg.connect(outbox_url) as quick:
            for number in range(20):
                ids = insert(quick, 1, f"quick-{number}")
                quick.commit()
            await arrived(vhost_url, ids)
        upstream.commit()
        await arrived(vhost_url, late)


async def test_without_rabbitmq_the_rows_wait_and_then_all_arrive(
    outbox_url: str, upstream: psycopg.Connection[Any], rabbitmq: RabbitMQServer, vhost: str, vhost_url: str
) -> None:
    async with relaying(outbox_url, vhost_url, deadline_s=0.5) as (relay, publisher, registry):
        ids = insert(upstream, 5, "a")
        rabbitmq.management.delete_vhost(vhost)
        upstream.commit()
        await eventually_async(lambda: registry.get_sample_value("notify_outbox_unconfirmed_total"))
        assert health_of(relay, publisher)["status"] == "unhealthy"
        rabbitmq.management.create_vhost(vhost)
        await eventually_async(lambda: publisher.state == "up", 30)
        await arrived(vhost_url, ids, 30)


async def test_without_its_database_it_waits_and_then_goes_on(
    outbox_url: str, upstream: psycopg.Connection[Any], vhost_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "LONGEST_WAIT_S", 0.5)
    name = outbox_url.rpartition("/")[2]
    admin_url = outbox_url.replace(f"/{name}", "/postgres")
    async with relaying(outbox_url, vhost_url) as (relay, publisher, registry):
        ids = insert(upstream, 1, "a")
        upstream.commit()
        await arrived(vhost_url, ids)
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'notify-relay' AND datname = %s",
                (name,),
            )
            await eventually_async(lambda: (registry.get_sample_value("notify_outbox_errors_total") or 0) >= 2)
            assert health_of(relay, publisher)["status"] == "degraded"
            more = insert(upstream, 1, "b")
            upstream.commit()
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await arrived(vhost_url, more, 30)
        await eventually_async(lambda: health_of(relay, publisher)["status"] == "healthy")
