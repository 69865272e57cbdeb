"""Tests that what has got lost is published again, and that nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from services.tracker.reconciler import Reconciler
from shared.broker.publisher import Publication
from shared.broker.queue_depth import Sampler
from shared.broker.topology import EVENTS_LANE, EXCHANGE
from shared.clock import now_ms, parse_rfc3339
from shared.events.event import happening
from shared.store.threads import StoreThreads
from tests.support.timelines import TrackerBench, report, tracking
from tests.support.waiting import eventually_async
from tests.support.workbench import ScriptedProvider, envelope, quick_settings, running

AFTER_S = 60.0
BODY = envelope("push", "r-1").decode()


class KnownDepth(Sampler):
    """Says how many events wait."""

    def __init__(self) -> None:
        super().__init__(lanes=(EVENTS_LANE,))
        self.depth: int | None = 0

    def ready(self, _lane: Any) -> int | None:
        return self.depth


@asynccontextmanager
async def reconciling(
    tracker: TrackerBench, recorded_s: float = 86_400
) -> AsyncIterator[tuple[Reconciler, KnownDepth]]:
    threads, depth = StoreThreads(), KnownDepth()
    yield (
        Reconciler(
            tracker.store,
            threads,
            tracker.publisher,
            depth,
            tracker.intake,
            tracker.metrics,
            after_s=AFTER_S,
            recorded_s=recorded_s,
        ),
        depth,
    )
    await threads.close()


def _told(kind: Any, ago_s: float, **more: Any) -> Any:
    return happening(kind, now_ms() - round(ago_s * 1000), reason="why", **more)


def accepted(ago_s: float, *more: Any, body: str | None = BODY, **fields: Any) -> Any:
    at_ms = now_ms() - round(ago_s * 1000)
    kept = ("accepted", at_ms, "", "", None, "", "", None, body)
    return report(kept, *more, accepted_ms=at_ms, **fields)


async def write(tracker: TrackerBench, *reports: Any) -> None:
    for one in reports:
        await tracker.reporter.confirmed(tracker.reporter.report(one))
    await tracker.idle()


async def lane(tracker: TrackerBench, queue: str = "push.queue") -> list[tuple[dict[str, Any], bytes]]:
    channel = await tracker.publisher.connection.channel()
    found = []
    while (answer := await channel.get(queue)) is not None:
        method, properties, body = answer
        found.append((dict(properties.headers or {}), body))
        channel.raw.basic_ack(method.delivery_tag)
    await channel.close()
    return found


async def test_what_is_lost_is_published_again_as_it_was_accepted_and_once(vhost_url: str, database_url: str) -> None:
    async with tracking(vhost_url, database_url) as tracker, reconciling(tracker) as (reconciler, _):
        await write(tracker, accepted(2 * AFTER_S))
        assert await reconciler.look() == 1
        ((headers, body),) = await lane(tracker)
        assert body.decode() == BODY
        (row,) = tracker.rows("r-1")
        assert (headers["notify-client"], headers["notify-attempt"], headers["notify-replay"]) == ("shop", 0, 0)
        assert parse_rfc3339(headers["notify-accepted-at"]) == row.created_ms
        assert (row.status, row.republished) == ("pending", 1)
        assert tracker.count("notify_republished_total", channel="push") == 1
        assert await reconciler.look() == 0


async def test_it_is_published_at_the_attempt_that_a_claim_admits(vhost_url: str, database_url: str) -> None:
    async with tracking(vhost_url, database_url) as tracker, reconciling(tracker) as (reconciler, _):
        await write(
            tracker,
            accepted(2 * AFTER_S),
            report(_told("retrying", 90, next_try_ms=1), accepted_ms=now_ms() - 120_000, attempt=3, replay=7),
        )
        assert await reconciler.look() == 1
        ((headers, _body),) = await lane(tracker)
        assert (headers["notify-attempt"], headers["notify-replay"]) == (4, 7)


@pytest.mark.parametrize(
    "why",
    ["young", "on the ladder", "sent", "failed", "expired", "without a body", "too old for a record", "events wait"],
)
async def test_nothing_is_published_that_may_not_be_lost(why: str, vhost_url: str, database_url: str) -> None:
    late = _told("retrying", 90, next_try_ms=now_ms() + 1_000)
    ended = {kind: _told(kind, 90) for kind in ("sent", "failed", "expired")}
    reports = {
        "young": accepted(AFTER_S / 2),
        "on the ladder": accepted(2 * AFTER_S, late),
        "without a body": accepted(2 * AFTER_S, body=None),
        **{kind: accepted(2 * AFTER_S, end) for kind, end in ended.items()},
    }
    recorded_s = 3 * AFTER_S if why == "too old for a record" else 86_400
    async with tracking(vhost_url, database_url) as tracker, reconciling(tracker, recorded_s) as (reconciler, depth):
        await write(tracker, reports.get(why, accepted(2 * AFTER_S)))
        depth.depth = 1 if why == "events wait" else 0
        assert await reconciler.look() == 0
        assert await lane(tracker) == []
        if why == "events wait":
            depth.depth = None
            assert await reconciler.look() == 0
            depth.depth = 0
            assert await reconciler.look() == 1


async def test_a_lane_with_messages_is_left_alone(vhost_url: str, database_url: str) -> None:
    async with tracking(vhost_url, database_url) as tracker, reconciling(tracker) as (reconciler, _):
        await write(
            tracker,
            accepted(2 * AFTER_S),
            accepted(2 * AFTER_S, request_id="r-2", priority="high"),
        )

        await tracker.publisher.publish(Publication(EXCHANGE, "push", b"{}", {}))
        await eventually_async(lambda: _has(tracker, "push.queue"))
        assert await reconciler.look() == 1
        assert len(await lane(tracker, "push.high.queue")) == 1
        assert [body for _, body in await lane(tracker)] == [b"{}"]


async def _has(tracker: TrackerBench, queue: str) -> bool:
    return await tracker.ready(queue) > 0


async def test_a_purged_queue_costs_no_notification(vhost_url: str, redis_url: str, database_url: str) -> None:
    """The whole way: accepted, its queue purged by somebody, published again, and delivered once by a real worker."""
    provider = ScriptedProvider()
    settings = quick_settings(vhost_url, redis_url)
    async with (
        tracking(vhost_url, database_url) as tracker,
        reconciling(tracker) as (reconciler, _),
        running(settings, [provider], events=tracker.reporter, start=False) as bench,
    ):
        await write(tracker, accepted(2 * AFTER_S))
        await bench.put("r-1", body=BODY.encode(), headers={"notify-client": "shop"})
        channel = await tracker.publisher.connection.channel()
        await channel.call(channel.raw.queue_purge, queue="push.queue")
        await channel.close()
        assert await reconciler.look() == 1
        bench.start()
        await eventually_async(lambda: [row.status for row in tracker.rows("r-1")] == ["sent"])
        assert provider.accepted == ["r-1"]
        # A copy of it is recognised.
        await bench.put("r-1", body=orjson.dumps(orjson.loads(BODY)), headers={"notify-client": "shop"})
        await eventually_async(lambda: "duplicate" in tracker.kinds("r-1"))
        assert provider.accepted == ["r-1"]
        assert tracker.rows("r-1")[0].status == "sent"
