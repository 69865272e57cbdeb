"""Tests wake-ups with a real Redis: who subscribes to a user's channel hears them, from both kinds of publisher."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from shared.metrics import Metrics
from shared.realtime.wakeup import ThreadedWakeUps, WakeUps, channel_of, encode
from shared.redis.batch import Batcher
from shared.redis.client import sync_client
from shared.store.values import Owner
from tests.support.inbox_rows import change, row

USERS = [Owner(f"user {n}") for n in range(300)]


@pytest.fixture
def listening(redis_client: redis.Redis) -> Iterator[redis.client.PubSub]:
    """Yields a subscriber to the channels of all users, after Redis has confirmed that it is one."""
    with redis_client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
        pubsub.subscribe(*map(channel_of, USERS))
        for _ in USERS:
            assert pubsub.get_message(timeout=10)
        yield pubsub


def heard(pubsub: redis.client.PubSub, number: int) -> list[tuple[str, bytes]]:
    """Returns the next messages, which have to come within 10 seconds."""
    messages: list[tuple[str, bytes]] = []
    deadline = time.monotonic() + 10
    while len(messages) < number and time.monotonic() < deadline:
        if (message := pubsub.get_message(ignore_subscribe_messages=True, timeout=1)) is not None:
            messages.append((message["channel"].decode(), message["data"]))
    return messages


def failed(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("notify_wakeups_failed_total")


CHANGES = [change(row(n, 3, user_id=owner.user_id), owner=owner) for n, owner in enumerate(USERS, 1)]
EXPECTED = [(channel_of(one.owner), encode(one)) for one in CHANGES]


async def test_every_user_of_a_batch_is_woken(redis_url: str, listening: redis.client.PubSub) -> None:
    batcher, metrics = Batcher(redis_url), Metrics()
    await WakeUps(batcher, metrics).publish(CHANGES)
    assert sorted(heard(listening, len(CHANGES))) == sorted(EXPECTED)
    assert failed(metrics) == 0
    await batcher.close()


def test_a_thread_wakes_every_user_too(redis_client: redis.Redis, listening: redis.client.PubSub) -> None:
    metrics = Metrics()
    ThreadedWakeUps(redis_client, metrics.wakeups_failed).publish(CHANGES)
    assert heard(listening, len(CHANGES)) == EXPECTED
    assert failed(metrics) == 0


async def test_nobody_listens_and_nothing_fails(redis_url: str) -> None:
    batcher, metrics = Batcher(redis_url), Metrics()
    await WakeUps(batcher, metrics).publish(CHANGES[:1])
    assert failed(metrics) == 0
    await batcher.close()


async def test_without_redis_every_wake_up_is_counted_and_nothing_raised() -> None:
    nowhere, metrics = "redis://127.0.0.1:1/0", Metrics()
    batcher = Batcher(nowhere)
    await WakeUps(batcher, metrics).publish(CHANGES)
    assert failed(metrics) == len(CHANGES)
    with sync_client(nowhere) as client:
        ThreadedWakeUps(client, metrics.wakeups_failed).publish(CHANGES)
    assert failed(metrics) == 2 * len(CHANGES)
    await batcher.close()


async def test_a_channel_that_redis_refuses_keeps_no_other_from_its_wake_up(
    redis_url: str, redis_client: redis.Redis, listening: redis.client.PubSub
) -> None:
    refused = CHANGES[1]
    allowed = [one for one in CHANGES[:5] if one is not refused]
    redis_client.acl_setuser(
        "waker",
        enabled=True,
        nopass=True,
        commands=["+@all"],
        keys=["*"],
        # A rule cannot have a space; a question mark stands for any character.
        channels=[channel_of(one.owner).replace(" ", "?") for one in allowed],
        reset_channels=True,
    )
    try:
        batcher, metrics = Batcher(redis_url.replace("redis://", "redis://waker:any@")), Metrics()
        await WakeUps(batcher, metrics).publish(CHANGES[:5])
        assert sorted(heard(listening, len(allowed))) == sorted((channel_of(one.owner), encode(one)) for one in allowed)
        assert failed(metrics) == 1
        await batcher.close()
    finally:
        redis_client.acl_deluser("waker")
