"""Tests which copies are one message, with a real gateway, broker and Redis: by HTTP, by AMQP, after restarts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from shared.clock import now_ms, rfc3339
from shared.errors import Refusal, Refused
from shared.failed.queue import FailedQueue
from shared.failed.selection import parse_listing, parse_replay
from shared.message.channels import PRIORITIES
from shared.message.headers import DeliveryState
from shared.message.identity import body_hash, published_body
from shared.providers.provider import Message
from shared.redis.client import sync_client
from shared.settings.settings import Settings
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.run.moved_clock import time_ns_from
from tests.support.waiting import eventually_async
from tests.support.workbench import ScriptedProvider, envelope, quick_settings, running

OTP: dict[str, Any] = {
    "request_id": "otp-1",
    "notification_type": "push",
    "recipient": {"push_tokens": ["token-1"]},
    "content": {"title": "Your code", "body": "123456"},
}


@pytest.fixture
def settings(vhost_url: str, redis_url: str) -> Settings:
    return quick_settings(vhost_url, redis_url)


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    with sync_client(redis_url) as client:
        yield client


@pytest.fixture
def gateway(tmp_path: Path, vhost_url: str, redis_url: str) -> Iterator[GatewayProcess]:
    """Runs a gateway for the clients ``shop`` and ``other``, whose keys are their names."""
    keys = ",".join(f"{name}:send:{hashlib.sha256(name.encode()).hexdigest()}" for name in ("shop", "other"))
    with gateway_process(tmp_path, vhost_url, redis_url, API_KEYS=keys) as made:
        yield made


def from_client(name: str) -> dict[str, str]:
    return DeliveryState(accepted_at=rfc3339(now_ms()), client=name).to_headers()


async def test_a_second_client_takes_no_request_id_and_amqp_continues_what_http_began(
    gateway: GatewayProcess, settings: Settings, store: redis.Redis
) -> None:
    async def post(client: str, document: dict[str, Any]) -> int:
        answer = await asyncio.to_thread(gateway.post, document, headers={"X-API-Key": client})
        return answer.status_code

    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        assert await post("other", OTP | {"content": {"title": "x", "body": "taken"}}) == 202
        assert await post("shop", OTP) == 202
        await eventually_async(lambda: len(provider.accepted) == 2)
        # The service falls back to AMQP, and writes the same document in its own way.
        body = json.dumps(dict(reversed(OTP.items())), indent=2).encode()
        await bench.put("otp-1", body=body, headers=from_client("shop"))
        await eventually_async(lambda: bench.count("notify_duplicates_total", channel="push") == 1)
        await bench.put("otp-1", body=body, headers={})
        await eventually_async(lambda: len(provider.accepted) == 3)
        assert await bench.failed() == []
    keys = ("notify:push:@other:otp-1", "notify:push:@shop:otp-1", "notify:push:otp-1")
    assert sorted(store.keys("notify:push:*")) == [key.encode() for key in keys]


async def test_a_message_without_a_client_has_the_record_of_version_1(settings: Settings, store: redis.Redis) -> None:
    provider = ScriptedProvider()
    body = published_body(OTP, "push")
    async with running(settings, [provider]) as bench:
        await bench.put("otp-1", body=body)
        await eventually_async(lambda: provider.accepted == ["otp-1"])
        await eventually_async(lambda: bench.worker.in_flight == 0)
    record = store.get("notify:push:otp-1")
    assert isinstance(record, bytes)
    assert record.startswith(b"D:" + body_hash(body).encode() + b":fcm:")


@pytest.mark.parametrize("indent", [None, 4])
async def test_a_record_of_an_earlier_version_is_not_lost(
    indent: int | None, settings: Settings, store: redis.Redis
) -> None:
    """Tests the record of a message that its publisher wrote in its own way: it holds the hash of those bytes."""
    body = json.dumps(OTP, indent=indent).encode()
    store.set("notify:push:otp-1", f"D:{body_hash(body)}:fcm:projects/p/messages/1")
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        await bench.put("otp-1", body=body)
        await eventually_async(lambda: bench.count("notify_duplicates_total", channel="push") == 1)
        assert (provider.calls, await bench.failed()) == ([], [])


async def test_copied_headers_neither_kill_a_message_nor_keep_its_replay_from_being_sent(settings: Settings) -> None:
    refuses = [True]

    async def script(message: Message) -> str:
        if refuses and message.request_id == "replayed":
            raise Refused(Refusal.PAYLOAD_REJECTED, "no")
        return "id"

    provider = ScriptedProvider(script=script)
    copied = {"x-delivery-count": 50, "notify-redeliveries": 50, "notify-attempt": 2**40}
    async with running(settings, [provider]) as bench:
        # The first message is taken by basic.get, for which the broker writes its own count; the others are consumed.
        for n in range(5):
            await bench.put(f"copied-{n}", headers=copied)
            await eventually_async(lambda: len(provider.accepted) == n + 1)  # noqa: B023
        await bench.put("replayed", headers={"notify-replay": 9_007_199_254_740_990})
        queue = FailedQueue(settings)

        async def has_failed() -> bool:
            return bool((await queue.list(parse_listing({}))).items)

        await eventually_async(has_failed)
        refuses.clear()
        done = await queue.replay(parse_replay({"all": True}), operator="test")
        assert done.done == 1
        await eventually_async(lambda: provider.accepted[-1] == "replayed")


async def test_a_message_with_an_unknown_routing_key_is_listed_and_can_be_replayed(
    settings: Settings, vhost_url: str
) -> None:
    provider = ScriptedProvider()
    queue = FailedQueue(settings)
    async with running(settings, [provider]) as bench:
        channel = await bench.publisher.connection.channel()
        channel.raw.basic_publish("notifications.direct", "push.medium", orjson.dumps(OTP | {"request_id": "medium"}))
        await eventually_async(lambda: provider.accepted == ["medium"])
        channel.raw.basic_publish("notifications.direct", "push.urgent", orjson.dumps(OTP))

        async def is_listed() -> bool:
            (*items,) = (await queue.list(parse_listing({"reason": "unroutable"}))).items
            return [(item.request_id, item.queue) for item in items] == [("otp-1", None)]

        await eventually_async(is_listed)
        done = await queue.replay(parse_replay({"reason": "unroutable"}), operator="test")
        assert (done.matched, done.done) == (1, 1)
        await eventually_async(lambda: provider.accepted == ["medium", "otp-1"])


async def test_orderly_restarts_lose_no_state(settings: Settings) -> None:
    """Tests stops in full flow: messages that come after the stop are not begun, and come back as redeliveries."""
    provider = ScriptedProvider()
    lost = 0.0
    async with running(settings, [provider], start=False) as bench:
        ids = [await bench.put(priority=PRIORITIES[n % 3]) for n in range(3_000)]
    for stop in range(1, 6):
        async with running(settings, [provider]) as bench:
            await eventually_async(lambda stop=stop: len(provider.calls) > 300 * stop)  # type: ignore[misc]
        lost += bench.count("notify_state_lost_total")
    async with running(settings, [provider]) as bench:
        await eventually_async(lambda: set(provider.accepted) == set(ids), deadline_s=20)
        await eventually_async(lambda: bench.worker.in_flight == 0)
    assert lost + bench.count("notify_state_lost_total") == 0
    assert Counter(provider.accepted) == Counter(ids)


@pytest.mark.parametrize("minutes", [10, -10], ids=["ahead", "behind"])
async def test_a_workers_own_clock_expires_nothing(
    minutes: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_ms = now_ms()
    bodies = [
        envelope("push", f"r{n}", expires_at=rfc3339(redis_ms + left_s * 1000))
        for n, left_s in enumerate((300, -5) * 10)
    ]
    headers = DeliveryState(accepted_at=rfc3339(redis_ms)).to_headers()
    provider = ScriptedProvider()
    async with running(settings, [provider]) as bench:
        monkeypatch.setattr(time, "time_ns", time_ns_from(redis_ms + minutes * 60_000))
        for body in bodies:
            await bench.put(body=body, headers=headers)
        await eventually_async(lambda: len(provider.accepted) == 10)
        reasons: list[str] = []

        async def all_failed() -> bool:
            reasons.extend(headers["notify-failed-reason"] for headers, _ in await bench.failed())
            return len(reasons) == 10

        await eventually_async(all_failed)
        assert set(reasons) == {"expired"}
        assert sorted(provider.accepted) == sorted(f"r{n}" for n in range(0, 20, 2))
