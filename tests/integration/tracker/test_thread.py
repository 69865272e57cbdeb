"""Tests the whole way of an event: from a real worker, through RabbitMQ and the tracker, to a row."""

from __future__ import annotations

import asyncio
import contextlib

from shared.errors import Refusal, Refused
from shared.events.reporter import Batch, Reporter
from tests.support.fakes.publisher import GatedPublisher
from tests.support.timelines import reporting, tracking
from tests.support.waiting import eventually_async
from tests.support.workbench import ScriptedProvider, quick_settings, running


async def test_what_a_worker_does_is_in_the_timeline(vhost_url: str, redis_url: str, database_url: str) -> None:
    errors = [Refused(Refusal.UNAVAILABLE, "fcm 503 UNAVAILABLE")]
    provider = ScriptedProvider()

    async def fails_once(_message: object) -> str:
        if errors:
            raise errors.pop()
        return "id-1"

    provider.script = fails_once
    settings = quick_settings(vhost_url, redis_url)
    async with (
        tracking(vhost_url, database_url) as tracker,
        reporting(vhost_url) as events,
        running(settings, [provider], events=events) as bench,
    ):
        rid = await bench.put()
        await eventually_async(lambda: [row.status for row in tracker.rows(rid)] == ["sent"])
        await tracker.idle()
        assert tracker.kinds(rid) == ["attempted", "retrying", "attempted", "sent"]
        first, retry, second, sent = tracker.told(rid)
        assert (first.provider, first.code, first.reason, first.attempt) == ("fcm", "503 UNAVAILABLE", "unavailable", 0)
        assert retry.next_try_ms is not None
        assert retry.next_try_ms >= retry.at_ms + 200
        assert (second.code, second.attempt, sent.provider) == ("accepted", 1, "fcm")
        (row,) = tracker.rows(rid)
        assert (row.attempts, row.provider, row.priority) == (2, "fcm", "medium")
        assert row.reason in ("unavailable", "provider_unavailable")


async def test_what_an_earlier_worker_did_and_could_not_tell_is_told_by_the_copy(
    vhost_url: str, redis_url: str, database_url: str
) -> None:
    """It is done in Redis, and nobody has told the timeline: as if the worker had been killed in between."""
    provider = ScriptedProvider()
    settings = quick_settings(vhost_url, redis_url)
    async with tracking(vhost_url, database_url) as tracker:
        async with running(settings, [provider]) as silent:
            await silent.put("sent-1")
            await eventually_async(lambda: provider.accepted == ["sent-1"])
        assert tracker.rows("sent-1") == []
        async with reporting(vhost_url) as events, running(settings, [provider], events=events) as bench:
            await bench.put("sent-1")
            await eventually_async(lambda: [row.status for row in tracker.rows("sent-1")] == ["sent"])
            assert tracker.kinds("sent-1") == ["duplicate"]
            assert provider.accepted == ["sent-1"]


async def test_a_notification_that_nobody_wants_dies_or_expires_says_so(
    vhost_url: str, redis_url: str, database_url: str
) -> None:
    async def refuses(_message: object) -> str:
        raise Refused(Refusal.RECIPIENT_INVALID, "fcm 404 UNREGISTERED")

    settings = quick_settings(vhost_url, redis_url)
    async with (
        tracking(vhost_url, database_url) as tracker,
        reporting(vhost_url) as events,
        running(settings, [ScriptedProvider(script=refuses)], events=events) as bench,
    ):
        dead = await bench.put()
        late = await bench.put(expires_at="2020-01-01T00:00:00Z")
        none = await bench.put(body=b'{"request_id": "unreadable-1", "notification_type": "fax"}')
        await eventually_async(
            lambda: (
                [row.status for rid in (dead, late, "unreadable-1") for row in tracker.rows(rid)]
                == ["failed", "expired", "failed"]
            )
        )
        await tracker.idle()
        assert tracker.kinds(dead) == ["attempted", "token_dead", "failed"]
        assert tracker.kinds(late) == ["expired"]
        (row,) = tracker.rows("unreadable-1")
        assert (row.reason, row.user_id, row.attempts) == ("invalid_envelope", "", 0)
        assert tracker.rows(none) == []
        # A stray message under the id of another one says nothing about that one.
        await bench.put(dead, content={"title": "another", "body": "one"})
        await eventually_async(lambda: "duplicate" in tracker.kinds(dead))
        assert [row.status for row in tracker.rows(dead)] == ["failed"]


async def test_the_ack_waits_for_the_timeline(vhost_url: str, redis_url: str, database_url: str) -> None:
    """A worker that is killed before RabbitMQ has its events gets the message again, and tells the same."""
    provider = ScriptedProvider()
    settings = quick_settings(vhost_url, redis_url)

    class Silent(Reporter):
        async def confirmed(self, batch: Batch) -> None:
            await asyncio.Event().wait()

    lost = Silent(GatedPublisher(), "push", lambda _: None)
    async with tracking(vhost_url, database_url) as tracker:
        async with running(settings, [provider], events=lost, start=False) as killed:
            run = asyncio.create_task(killed.worker.run())
            rid = await killed.put()
            await eventually_async(lambda: provider.accepted == [rid])
            # Nothing was acked: the message is still the worker's.
            assert killed.worker.in_flight == 1
            killed.worker.stop()
            with contextlib.suppress(asyncio.CancelledError):
                await run
        async with reporting(vhost_url) as events, running(settings, [provider], events=events):
            await eventually_async(lambda: [row.status for row in tracker.rows(rid)] == ["sent"])
        assert provider.accepted == [rid]
