"""Tests the worker with a real broker and a real Redis: the outcome of each kind of message."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ops.servers import RabbitMQServer, RedisServer
from shared.broker.consumer import Consumer
from shared.broker.incoming import Incoming
from shared.broker.publisher import REDECLARE_EVERY_S
from shared.broker.topology import retry_queue
from shared.errors import Refusal, Refused, Unavailable
from shared.message.channels import PRIORITIES, Lane, lanes_of
from shared.message.headers import DeliveryState
from shared.providers.provider import Message
from shared.settings.settings import Settings
from shared.worker.poison import GIVE_UP_AT
from tests.support.peers.source_service import json_answer, source_service
from tests.support.run.servers import private_rabbitmq
from tests.support.waiting import eventually_async
from tests.support.workbench import ScriptedProvider, envelope, quick_settings, running

QUEUES = [lane.queue for lane in lanes_of("push")]


@pytest.fixture
def settings(vhost_url: str, redis_url: str) -> Settings:
    return quick_settings(vhost_url, redis_url)


async def test_every_message_of_every_lane_is_delivered_once_and_acked(settings: Settings) -> None:
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        ids = [await bench.put(priority=priority) for priority in PRIORITIES for _ in range(100)]
        await eventually_async(lambda: len(provider.accepted) >= 300)
        await eventually_async(lambda: bench.worker.in_flight == 0)
        assert Counter(provider.calls) == Counter(ids)
        assert bench.count("notify_delivered_total", channel="push", provider="fcm") == 300
        assert bench.count("notify_delivery_seconds_count", channel="push", lane="high") == 100
    async with running(settings, [provider], start=False) as bench:
        assert await bench.ready(*QUEUES) == 0


async def test_a_failure_that_may_pass_is_tried_again_and_counted(settings: Settings) -> None:
    answers = iter([Unavailable("503"), Refused(Refusal.THROTTLED, "429", 0.2)])

    async def script(_message: Message) -> str:
        for error in answers:
            raise error
        return "id"

    provider = ScriptedProvider(script=script)
    async with running(settings, [provider]) as bench:
        await bench.put()
        await eventually_async(lambda: len(provider.accepted) == 1)
        assert len(provider.calls) == 3
        assert bench.count("notify_retried_total", channel="push", reason="provider_unavailable") == 1
        assert bench.count("notify_retried_total", channel="push", reason="throttled") == 1


async def test_a_message_that_cannot_succeed_goes_to_failed_queue_after_one_attempt(settings: Settings) -> None:
    provider = ScriptedProvider(error=lambda: Refused(Refusal.RECIPIENT_INVALID, "UNREGISTERED"))
    async with running(settings, [provider]) as bench:
        rid = await bench.put(priority="high")
        [(headers, body)] = await eventually_async(bench.failed)
        assert body == envelope("push", rid)
        assert headers["notify-failed-reason"] == "recipient_invalid"
        assert headers["notify-failed-error"] == "UNREGISTERED"
        assert headers["notify-failed-provider"] == "fcm"
        assert headers["notify-failed-attempts"] == 1
        assert headers["notify-failed-queue"] == "push.high.queue"
        assert headers["notify-first-attempt-at"]
        assert provider.calls == [rid]


async def test_attempts_end(vhost_url: str, redis_url: str) -> None:
    settings = quick_settings(vhost_url, redis_url, breaker_failures=1000, retry_base_s=0.01, max_attempts_push=3)
    provider = ScriptedProvider(error=lambda: Unavailable("503"))
    async with running(settings, [provider]) as bench:
        await bench.put()
        [(headers, _)] = await eventually_async(bench.failed)
        assert headers["notify-failed-reason"] == "attempts_exhausted"
        assert headers["notify-failed-attempts"] == 3
        assert len(provider.calls) == 3


async def test_bad_messages_on_the_queue_get_their_reason_and_those_behind_them_are_delivered(
    settings: Settings,
) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        for body in (b"{", b'{"request_id": 5}', b"x" * 5_000_000, envelope("email", "w")):
            await bench.put(body=body)
        await bench.put("late", expires_at=past)
        await bench.put("old", headers=DeliveryState(accepted_at="2020-01-01T00:00:00.000Z").to_headers())
        await bench.put("nobody", recipient={"email": "a@example.org"})
        await bench.put("good")
        await eventually_async(lambda: "good" in provider.accepted)
        reasons: list[str] = []

        async def all_failed() -> bool:
            reasons.extend(headers["notify-failed-reason"] for headers, _ in await bench.failed())
            return len(reasons) >= 7

        await eventually_async(all_failed)
        assert sorted(reasons) == [
            "expired",
            "expired",
            "invalid_envelope",
            "invalid_json",
            "no_recipient",
            "too_large",
            "wrong_channel",
        ]
        assert provider.calls == ["good"]


async def test_one_request_id_is_one_call_however_many_copies_and_workers(settings: Settings) -> None:
    provider = ScriptedProvider(takes_s=0.3)
    async with running(settings, [provider], workers=2) as bench:
        for n in range(50):
            await bench.put("same", priority=PRIORITIES[n % 3])
        await bench.put("other")
        await eventually_async(lambda: "other" in provider.accepted)

        async def nothing_left() -> bool:
            waiting = await bench.ready(*QUEUES, *(retry_queue(lane, 2.0) for lane in lanes_of("push")))
            return waiting == 0 and not any(worker.in_flight for worker in bench.workers)

        await eventually_async(nothing_left, deadline_s=20)
        assert provider.calls.count("same") == 1


async def test_another_body_under_the_same_request_id_is_refused_not_swallowed(settings: Settings) -> None:
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        await bench.put("r")
        await eventually_async(lambda: provider.accepted == ["r"])
        await bench.put("r", content={"title": "t", "body": "another"})
        [(headers, _)] = await eventually_async(bench.failed)
        assert headers["notify-failed-reason"] == "request_id_reused"


async def test_a_stale_copy_of_a_message_that_was_forwarded_is_acked(settings: Settings) -> None:
    provider = ScriptedProvider(error=lambda: Refused(Refusal.PAYLOAD_REJECTED, "no"))
    async with running(settings, [provider]) as bench:
        await bench.put("r")
        await eventually_async(bench.failed)
        await bench.put("r")
        await eventually_async(lambda: bench.count("notify_duplicates_total", channel="push") == 1)
        assert provider.calls == ["r"]


async def test_a_retry_sends_only_to_the_tokens_that_were_not_served(settings: Settings) -> None:
    refused: list[str] = []

    async def script(message: Message) -> str:
        if message.target == "b" and not refused:
            refused.append(message.target)
            raise Unavailable("503")
        if message.target == "dead":
            raise Refused(Refusal.RECIPIENT_INVALID, "UNREGISTERED")
        return "id"

    provider = ScriptedProvider(script=script)
    async with running(settings, [provider]) as bench:
        await bench.put(recipient={"push_tokens": ["a", "b", "dead", "a"]})
        await eventually_async(lambda: bench.count("notify_delivered_total", channel="push", provider="fcm") == 1)
        assert Counter(provider.targets) == {"a": 1, "b": 2, "dead": 2}
        assert await bench.failed() == []


async def test_an_outage_leaves_the_backlog_in_its_queue_and_every_message_is_delivered_after_it(
    settings: Settings,
) -> None:
    provider = ScriptedProvider(error=lambda: Unavailable("503"))
    async with running(settings, [provider], start=False) as bench:
        ids = [await bench.put() for _ in range(600)]
        bench.start()
        await eventually_async(lambda: bench.worker.paused)
        assert bench.count("notify_paused", channel="push") == 1
        calls_when_paused = len(provider.calls)
        await eventually_async(lambda: len(provider.calls) >= calls_when_paused + 2)
        assert await bench.ready("push.queue") >= 600 - 256 - 10
        assert len(provider.calls) <= 256 + 10
        provider.error = None
        await eventually_async(lambda: len(set(provider.accepted)) == 600, deadline_s=20)
        await eventually_async(lambda: not bench.worker.paused)
        assert Counter(provider.accepted) == Counter(ids)


async def test_the_next_provider_replaces_a_failing_one(settings: Settings) -> None:
    first, second = ScriptedProvider("smtp", error=lambda: Unavailable("503")), ScriptedProvider("smtp2")
    async with running(settings, [first, second], channel="email") as bench:
        ids = [await bench.put() for _ in range(50)]
        await eventually_async(lambda: sorted(second.accepted) == sorted(ids))
        assert not bench.worker.paused
        assert bench.count("notify_breaker_state", channel="email", provider="smtp") in (1, 2)


async def test_refused_credentials_pause_the_worker_without_using_attempts(settings: Settings) -> None:
    provider = ScriptedProvider(error=lambda: Refused(Refusal.CREDENTIALS, "401"))
    async with running(settings, [provider]) as bench:
        ids = [await bench.put() for _ in range(20)]
        await eventually_async(lambda: bench.worker.paused)
        provider.error = None
        await eventually_async(lambda: sorted(provider.accepted) == sorted(ids), deadline_s=15)
        assert await bench.failed() == []


async def test_a_deleted_queue_comes_back_with_its_consumer(settings: Settings) -> None:
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        await bench.put("first")
        await eventually_async(lambda: "first" in provider.accepted)
        channel = await bench.publisher.connection.channel()
        await channel.call(channel.raw.queue_delete, queue="push.queue")
        await bench.put("second")
        await eventually_async(lambda: "second" in provider.accepted)


async def test_a_queue_deleted_while_publishing_is_not_declared_before_its_consumer_knows(settings: Settings) -> None:
    """Tests a queue that is declared again too early: within 20 ms it would keep a consumer that gets no messages."""
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        await bench.put("first")
        await eventually_async(lambda: "first" in provider.accepted)
        channel = await bench.publisher.connection.channel()
        # The declaration after a return is rate-limited: this waits until the next one is allowed at once, because the
        # limit alone would otherwise leave enough time.
        await asyncio.sleep(REDECLARE_EVERY_S)
        await channel.call(channel.raw.queue_delete, queue="push.queue")
        await asyncio.gather(*(bench.put(f"next-{n}") for n in range(20)))
        await eventually_async(lambda: len(provider.accepted) == 21)


@pytest.fixture
def mortal_rabbitmq(run_directory: Path) -> Iterator[RabbitMQServer]:
    """Starts a broker that only this test uses, because the test kills it.

    After a restart RabbitMQ 3.10 starts its dead-letter workers. If their virtual host is deleted at that moment, as at
    the end of a test, their supervisor gives up, and no queue can be declared any more (541).
    """
    with private_rabbitmq(run_directory / "rabbitmq-mortal") as server:
        yield server


async def test_a_broker_that_is_killed_and_comes_back_loses_nothing(
    mortal_rabbitmq: RabbitMQServer, redis_url: str
) -> None:
    provider, rabbitmq = ScriptedProvider(), mortal_rabbitmq
    settings = quick_settings(rabbitmq.url, redis_url)
    async with running(settings, [provider]) as bench:
        ids = [await bench.put() for _ in range(200)]
        rabbitmq.kill()
        rabbitmq.start()
        await eventually_async(lambda: set(provider.accepted) == set(ids), deadline_s=60)
        ids.append(await asyncio.wait_for(bench.put(), 30))
        await eventually_async(lambda: set(provider.accepted) == set(ids), deadline_s=30)
        assert Counter(provider.accepted) == Counter(ids)


async def test_while_redis_is_unresponsive_nothing_is_sent_and_nothing_is_lost(
    settings: Settings, redis_server: RedisServer
) -> None:
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        await bench.put("first")
        await eventually_async(lambda: provider.accepted == ["first"])
        redis_server.pause()
        try:
            ids = [await bench.put() for _ in range(20)]
            await eventually_async(lambda: bench.worker.paused)
            assert provider.calls == ["first"]
        finally:
            redis_server.resume()
        await eventually_async(lambda: sorted(provider.accepted) == sorted(["first", *ids]), deadline_s=15)


async def test_with_proceed_a_worker_delivers_without_redis_and_counts_it(
    vhost_url: str, redis_url: str, redis_server: RedisServer
) -> None:
    provider = ScriptedProvider()
    settings = quick_settings(vhost_url, redis_url, idempotency_on_redis_down="proceed")
    async with running(settings, [provider]) as bench:
        redis_server.pause()
        try:
            one = await bench.put()
            await bench.put("several", recipient={"push_tokens": ["a", "b"]})
            await eventually_async(lambda: sorted(provider.accepted) == sorted([one, "several", "several"]))
            await eventually_async(lambda: bench.count("notify_marker_lost_total") >= 2)
        finally:
            redis_server.resume()


async def test_a_stop_finishes_what_is_in_flight(settings: Settings) -> None:
    provider = ScriptedProvider(takes_s=0.3)
    async with running(settings, [provider], start=False) as bench:
        ids = [await bench.put() for _ in range(10)]
        bench.start()
        await eventually_async(lambda: len(provider.calls) == 10)
        bench.worker.stop()
        await asyncio.wait_for(bench.runs[0], 5)
        assert sorted(provider.accepted) == sorted(ids)
        assert await bench.ready("push.queue") == 0


async def test_a_message_that_was_redelivered_too_often_is_dead_lettered_unsent(settings: Settings) -> None:
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        await bench.put("poison", headers=DeliveryState(redeliveries=8).to_headers())
        await bench.put("suspect", headers=DeliveryState(redeliveries=3).to_headers())
        await bench.put("innocent")
        [(headers, _)] = await eventually_async(bench.failed)
        assert headers["notify-failed-reason"] == "delivery_limit"
        await eventually_async(lambda: sorted(provider.accepted) == ["innocent", "suspect"])


async def test_a_suspect_is_handled_with_nothing_else_in_flight(settings: Settings) -> None:
    beside_suspect: list[int] = []
    at_work = 0

    async def script(message: Message) -> str:
        nonlocal at_work
        at_work += 1
        if message.request_id.startswith("suspect"):
            beside_suspect.append(at_work)
        await asyncio.sleep(0.02)
        at_work -= 1
        return "id"

    provider = ScriptedProvider(script=script)
    async with running(settings, [provider], start=False) as bench:
        ids = []
        for n in range(120):
            priority = PRIORITIES[n % 3]
            if n % 40 == 20:
                ids.append(await bench.put(f"suspect{n}", priority=priority, headers={"notify-redeliveries": 3}))
            else:
                ids.append(await bench.put(priority=priority))
        bench.start()
        await eventually_async(lambda: Counter(provider.accepted) == Counter(ids), deadline_s=20)
        assert beside_suspect == [1, 1, 1]


async def test_a_lane_that_cannot_be_opened_is_not_noticed_by_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = [True]
    get, consume = Consumer.get, Consumer.consume

    def refuse(lane: Lane) -> None:
        if closed and lane.priority == "high":
            raise TimeoutError("no leader")

    async def get_unless_refused(consumer: Consumer, lane: Lane) -> Incoming | None:
        refuse(lane)
        return await get(consumer, lane)

    async def consume_unless_refused(consumer: Consumer, prefetch: Mapping[Lane, int]) -> None:
        for lane in prefetch:
            refuse(lane)
        await consume(consumer, prefetch)

    monkeypatch.setattr(Consumer, "get", get_unless_refused)
    monkeypatch.setattr(Consumer, "consume", consume_unless_refused)
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        waiting = [await bench.put(priority="high") for _ in range(5)]
        flowing = [await bench.put(priority=priority) for priority in ("medium", "low") for _ in range(300)]
        await eventually_async(lambda: sorted(provider.accepted) == sorted(flowing))
        closed.clear()
        await eventually_async(lambda: sorted(provider.accepted) == sorted(flowing + waiting))


async def test_stops_during_an_outage_bring_no_held_message_nearer_to_its_limit(settings: Settings) -> None:
    provider = ScriptedProvider(error=lambda: Refused(Refusal.CREDENTIALS, "401"))
    async with running(settings, [provider], start=False) as bench:
        ids = [await bench.put() for _ in range(20)]
    for _ in range(GIVE_UP_AT + 2):
        async with running(settings, [provider]) as bench:
            await eventually_async(lambda worker=bench.worker: worker.paused and worker.in_flight > 0)  # type: ignore[misc]
    provider.error = None
    async with running(settings, [provider]) as bench:
        await eventually_async(lambda: sorted(provider.accepted) == sorted(ids), deadline_s=20)
        assert await bench.failed() == []


async def test_messages_from_after_a_reconnection_are_not_dropped_with_earlier_ones(
    vhost_url: str, redis_url: str, rabbitmq: RabbitMQServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The connection is back before a lane that closed with it would be repaired alone.
    monkeypatch.setattr("shared.broker.connection.backoff_s", lambda tries, draw: 0.02)
    settings = quick_settings(vhost_url, redis_url, prefetch=32, lease_s=60.0, handling_budget_s=25.0)
    provider = ScriptedProvider(takes_s=1.5)
    async with running(settings, [provider]) as bench:
        ids = {await bench.put(priority=priority) for priority in PRIORITIES for _ in range(40)}
        # Every slot is used by a call that lasts longer than the reconnection.
        await eventually_async(lambda: len(provider.calls) > 32)
        await asyncio.to_thread(rabbitmq.close_connections)
        await eventually_async(lambda: set(provider.accepted) == ids, deadline_s=20)

        async def nothing_left() -> bool:
            # Messages whose ack was lost are redelivered, at first one by one.
            return await bench.ready(*QUEUES) == 0 and bench.worker.in_flight == 0

        await eventually_async(nothing_left, deadline_s=20)
    async with running(settings, [provider], start=False) as bench:
        assert await bench.ready(*QUEUES) == 0


async def test_a_users_unreadable_record_ends_only_its_own_message(vhost_url: str, redis_url: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        user_id = request.path.rpartition("/")[2]
        preferences: Any = 3 if user_id == "odd" else {"email": {"marketing": False}}
        record = {"id": user_id, "push_tokens": [f"token-of-{user_id}"], "preferences": preferences}
        return await json_answer(record)(request)

    async with source_service() as service:
        service.answer = answer
        settings = quick_settings(vhost_url, redis_url, user_endpoint=service.url)
        provider = ScriptedProvider()
        async with running(settings, [provider]) as bench:
            await bench.put("for-odd", priority="high", recipient=None, user_id="odd")
            ids = [await bench.put(recipient=None, user_id=f"good-{n}") for n in range(50)]
            await eventually_async(lambda: sorted(provider.accepted) == sorted(ids))
            [(headers, _)] = await eventually_async(bench.failed)
            assert headers["notify-failed-reason"] == "user_invalid"
            assert "preferences" in headers["notify-failed-error"]
            assert not bench.worker.paused
