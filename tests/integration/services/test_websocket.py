"""Tests the worker of the websocket channel with a real broker, a real Redis and a real database of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import orjson
import pytest
import redis

from services.websocket.inbox import Inbox
from shared.errors import StoreUnavailable
from shared.message.channels import PRIORITIES, lanes_of
from shared.message.headers import DeliveryState
from shared.metrics import Metrics
from shared.realtime.wakeup import Wakeup, WakeUps, channel_of, parse
from shared.redis.batch import Batcher
from shared.settings.settings import Settings
from shared.store.store import Store
from shared.store.threads import CONNECTIONS, StoreThreads
from shared.store.values import Inserted, NewNotification, Notification, Owner
from shared.worker.poison import GIVE_UP_AT, SUSPECT_AT
from tests.support.full_disks import full_disk
from tests.support.peers.source_service import json_answer, source_service
from tests.support.stores import check_inboxes
from tests.support.waiting import eventually_async
from tests.support.workbench import Bench, quick_settings, running

U1 = Owner("user-1")


class Gated(Store):
    """A store that a test makes unavailable, or whose answer to a commit a test loses.

    The titles of the requests in ``spoiled`` become such that no database takes them; ``bugs`` calls meet a bug.
    """

    away = False
    loses_answers = False
    spoiled: frozenset[str] = frozenset()
    bugs = 0

    def insert(self, batch: Sequence[NewNotification]) -> Inserted:
        if self.away:
            raise StoreUnavailable("away")
        if self.bugs:
            self.bugs -= 1
            raise KeyError("bug")
        inserted = super().insert(
            [one._replace(title="\ud800") if one.request_id in self.spoiled else one for one in batch]
        )
        if self.loses_answers:
            raise StoreUnavailable("connection lost")
        return inserted


@asynccontextmanager
async def inbox_worker(settings: Settings, database_url: str, workers: int = 1) -> AsyncIterator[tuple[Bench, Gated]]:
    """Runs the worker as the process does, and yields its bench and its store."""
    metrics = Metrics()
    store, batcher = Gated(database_url, CONNECTIONS), Batcher(settings.redis.url)
    threads = StoreThreads(metrics.store_unavailable)
    inbox = Inbox(store, threads, WakeUps(batcher, metrics), metrics, timeout_s=0.5)
    await inbox.open()
    try:
        async with running(settings, [inbox], "websocket", workers, metrics=metrics) as bench:
            yield bench, store
    finally:
        await inbox.close()
        await batcher.close()
        await threads.close()
        store.close()


@pytest.fixture
def settings(vhost_url: str, redis_url: str) -> Settings:
    return quick_settings(vhost_url, redis_url)


@pytest.fixture
def listening(redis_client: redis.Redis) -> Iterator[redis.client.PubSub]:
    """Yields a subscriber to the channel of U1, after Redis has confirmed that it is one."""
    with redis_client.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
        pubsub.subscribe(channel_of(U1))
        while not pubsub.subscribed or pubsub.get_message(timeout=0.05) is not None:
            pass
        yield pubsub


async def next_wakeup(pubsub: redis.client.PubSub) -> Wakeup:
    return parse((await eventually_async(lambda: pubsub.get_message(timeout=0.01)))["data"])


def rows(store: Store, owner: Owner = U1) -> list[Notification]:
    return list(store.page(owner, limit=1_000).items)


async def delivered(bench: Bench, number: int, deadline_s: float = 20) -> None:
    await eventually_async(
        lambda: bench.count("notify_delivered_total", channel="websocket", provider="inbox") >= number, deadline_s
    )


async def test_a_notification_is_a_row_and_a_wake_up(
    settings: Settings, database_url: str, listening: redis.client.PubSub
) -> None:
    async with inbox_worker(settings, database_url) as (bench, store):
        await bench.put("r-1", priority="high", type="warning", category="billing", metadata={"order": 7})
        await delivered(bench, 1)
        [row] = rows(store)
        assert (row.request_id, row.title, row.body, row.type, row.category) == ("r-1", "t", "b", "warning", "billing")
        assert row.extra == '{"metadata":{"order":7}}'
        assert row.expires_ms is None
        wakeup = await next_wakeup(listening)
        assert (wakeup.epoch, wakeup.prev, wakeup.to) == (store.summary(U1).position.epoch, 0, 1)
        [frame] = map(orjson.loads, wakeup.frames)
        assert (frame["type"], frame["notification"]["id"], frame["unread"]) == ("notification", row.id, 1)
        assert bench.count("notify_wakeups_failed_total") == 0


async def test_many_notifications_of_many_users_are_all_there_and_counted(
    settings: Settings, database_url: str
) -> None:
    async with inbox_worker(settings, database_url, workers=2) as (bench, store):
        for n in range(300):
            await bench.put(f"r-{n}", priority=PRIORITIES[n % 3], user_id=f"u{n % 7}")
        found: Counter[str] = Counter()

        def all_there() -> bool:
            found.clear()
            found.update(row.request_id for user in range(7) for row in rows(store, Owner(f"u{user}")))
            return len(found) == 300

        await eventually_async(all_there, deadline_s=30)
        assert set(found.values()) == {1}
        check_inboxes(store)
        await eventually_async(lambda: not any(worker.in_flight for worker in bench.workers))


async def test_without_the_store_everything_waits_and_nothing_is_lost(settings: Settings, database_url: str) -> None:
    async with inbox_worker(settings, database_url) as (bench, store):
        store.away = True
        for n in range(100):
            await bench.put(f"r-{n}", priority=PRIORITIES[n % 3], user_id=f"u{n % 3}")
        await eventually_async(lambda: bench.worker.paused)
        assert bench.providers.states() == {"inbox": "open"}
        await bench.put("while-paused")
        assert await bench.ready(*(lane.queue for lane in lanes_of("websocket"))) >= 1

        store.away = False
        await delivered(bench, 101)
        assert [len(rows(store, Owner(f"u{user}"))) for user in range(3)] == [34, 33, 33]
        assert len(rows(store)) == 1
        check_inboxes(store)
        assert await bench.failed() == []


async def test_an_answer_that_was_lost_leaves_one_row_and_wakes_its_user_again(
    settings: Settings, database_url: str, listening: redis.client.PubSub
) -> None:
    async with inbox_worker(settings, database_url) as (bench, store):
        store.loses_answers = True
        await bench.put("r-1")
        await eventually_async(lambda: len(rows(store)) == 1)
        await eventually_async(
            lambda: bench.count("notify_retried_total", channel="websocket", reason="provider_unavailable") >= 1
        )
        store.loses_answers = False
        await delivered(bench, 1)
        assert len(rows(store)) == 1
        assert await next_wakeup(listening) == Wakeup(store.summary(U1).position.epoch, 1, 1, [])
        # That its first send had no answer is harmless, so it is not counted as a possible double.
        assert bench.count("notify_ambiguous_total", channel="websocket", provider="inbox", why="no_answer") == 0


async def test_a_copy_that_nobody_remembers_is_one_row(
    settings: Settings, database_url: str, redis_client: redis.Redis
) -> None:
    async with inbox_worker(settings, database_url) as (bench, store):
        await bench.put("r-1")
        await delivered(bench, 1)
        redis_client.flushall()
        await bench.put("r-1")
        await delivered(bench, 2)
        assert [row.request_id for row in rows(store)] == ["r-1"]
        check_inboxes(store)


async def test_a_user_whom_no_directory_knows_has_an_inbox_and_one_who_wants_none_gets_nothing(
    vhost_url: str, redis_url: str, database_url: str
) -> None:
    async with source_service() as users:
        users.answer = json_answer({"error": "no such user"}, status=404)
        settings = quick_settings(vhost_url, redis_url, user_endpoint=users.url)
        async with inbox_worker(settings, database_url) as (bench, store):
            await bench.put("r-1", user_id="a/b", recipient=None)
            await delivered(bench, 1)
            assert len(rows(store, Owner("a/b"))) == 1

            users.answer = json_answer({"id": "u2", "preferences": {"websocket": False}})
            await bench.put("r-2", user_id="u2", recipient=None)
            await eventually_async(
                lambda: bench.count("notify_skipped_total", channel="websocket", reason="opted_out") == 1
            )
            assert rows(store, Owner("u2")) == []


async def test_a_full_disk_loses_nothing_and_nothing_is_acked_that_is_not_stored(
    settings: Settings, database_url: str
) -> None:
    async with inbox_worker(settings, database_url) as (bench, store):
        await bench.put("before")
        await delivered(bench, 1)
        with full_disk(store):
            for n in range(40):
                await bench.put(f"r-{n}", priority=PRIORITIES[n % 3], content={"title": "t", "body": "x" * 10_000})
            await eventually_async(lambda: bench.worker.paused)
            assert bench.providers.states() == {"inbox": "open"}
            assert [row.request_id for row in rows(store)] == ["before"]
            assert bench.count("notify_delivered_total", channel="websocket", provider="inbox") == 1
        await delivered(bench, 41)
        assert sorted(row.request_id for row in rows(store)) == sorted(["before", *(f"r-{n}" for n in range(40))])
        assert await bench.failed() == []
        assert bench.count("notify_store_unavailable_total") >= 1
        check_inboxes(store)


async def test_a_notification_that_no_database_takes_goes_to_the_failed_queue_alone(
    settings: Settings, database_url: str
) -> None:
    async with inbox_worker(settings, database_url) as (bench, store):
        store.spoiled = frozenset({"r-7"})
        for n in range(20):
            await bench.put(f"r-{n}", user_id=f"u{n % 3}")
        await delivered(bench, 19)
        [(headers, _)] = await eventually_async(bench.failed)
        assert headers["notify-failed-reason"] == "payload_rejected"
        found = [row.request_id for user in range(3) for row in rows(store, Owner(f"u{user}"))]
        assert sorted(found) == sorted(f"r-{n}" for n in range(20) if n != 7)
        assert bench.providers.states() == {"inbox": "closed"}


async def test_a_bug_in_the_store_costs_a_turn_of_the_ladder(settings: Settings, database_url: str) -> None:
    async with inbox_worker(settings, database_url) as (bench, store):
        store.bugs = 1
        for n in range(5):
            await bench.put(f"r-{n}")
        await delivered(bench, 5)
        assert sorted(row.request_id for row in rows(store)) == [f"r-{n}" for n in range(5)]
        assert bench.count("notify_retried_total", channel="websocket", reason="unexpected") >= 1
        assert await bench.failed() == []


async def test_a_message_that_was_redelivered_too_often_never_reaches_the_store(
    settings: Settings, database_url: str
) -> None:
    async with inbox_worker(settings, database_url) as (bench, store):
        await bench.put("poison", headers=DeliveryState(redeliveries=GIVE_UP_AT).to_headers())
        await bench.put("suspect", headers=DeliveryState(redeliveries=SUSPECT_AT).to_headers())
        await bench.put("innocent")
        [(headers, _)] = await eventually_async(bench.failed)
        assert headers["notify-failed-reason"] == "delivery_limit"
        await delivered(bench, 2)
        assert sorted(row.request_id for row in rows(store)) == ["innocent", "suspect"]


async def test_without_a_user_id_there_is_no_inbox(settings: Settings, database_url: str) -> None:
    async with inbox_worker(settings, database_url) as (bench, store):
        await bench.put("nobody", user_id=None, recipient={"email": "a@example.org"})
        [(headers, _)] = await eventually_async(bench.failed)
        assert (headers["notify-failed-reason"], headers["notify-failed-error"]) == (
            "no_recipient",
            "the recipient has no user_id",
        )
        assert store.totals().inboxes == 0
