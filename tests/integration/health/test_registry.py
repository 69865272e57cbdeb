"""Tests heartbeats and forced breakers with a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
import redis
import redis.asyncio

from ops.servers import RedisServer, free_ports
from shared.errors import RedisUnavailable
from shared.health.registry import WorkerState, force_breaker, forced_breakers, read_workers
from shared.redis.client import async_client, sync_client
from tests.support.waiting import eventually

HEARTBEAT_S = 60.0
CHANNELS = ("push", "email")


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with async_client(redis_url) as client:
        yield client


async def test_the_living_are_seen_by_channel_and_instance(
    client: redis.asyncio.Redis, redis_client: redis.Redis
) -> None:
    await WorkerState(client, "push", "a:1", HEARTBEAT_S).beat({"paused": False, "breakers": {"fcm": "closed"}})
    await WorkerState(client, "push", "b:2", HEARTBEAT_S).beat({"paused": True, "breakers": {"fcm": "open"}})
    seen = read_workers(redis_client, CHANNELS, HEARTBEAT_S)
    assert {name: state["paused"] for name, state in seen["push"].items()} == {"a:1": False, "b:2": True}
    assert seen["push"]["b:2"]["breakers"] == {"fcm": "open"}
    assert seen["email"] == {}


async def test_the_last_beat_counts(client: redis.asyncio.Redis, redis_client: redis.Redis) -> None:
    worker = WorkerState(client, "push", "a:1", HEARTBEAT_S)
    for paused in (True, False):
        await worker.beat({"paused": paused})
    assert read_workers(redis_client, CHANNELS, HEARTBEAT_S)["push"]["a:1"]["paused"] is False


async def test_a_silent_worker_is_ignored_and_deleted_by_the_next_heartbeat(
    client: redis.asyncio.Redis, redis_client: redis.Redis
) -> None:
    worker = WorkerState(client, "push", "living", HEARTBEAT_S)
    await worker.beat({})
    state = redis_client.hget("notify-workers:push", "living")
    assert isinstance(state, bytes)
    at_ms = orjson.loads(state)["at_ms"]
    for name, age_s in (("silent", 3.5 * HEARTBEAT_S), ("late", 2.5 * HEARTBEAT_S)):
        redis_client.hset("notify-workers:push", name, orjson.dumps({"at_ms": at_ms - round(age_s * 1000)}))
    assert set(read_workers(redis_client, CHANNELS, HEARTBEAT_S)["push"]) == {"living", "late"}
    await worker.beat({})
    assert set(redis_client.hkeys("notify-workers:push")) == {b"living", b"late"}


async def test_a_channel_without_workers_leaves_nothing_behind(
    client: redis.asyncio.Redis, redis_client: redis.Redis
) -> None:
    await WorkerState(client, "push", "a:1", 0.05).beat({})
    eventually(lambda: redis_client.keys("notify-workers:*") == [])


async def test_an_entry_that_no_worker_wrote_is_ignored_and_deleted_by_the_next_heartbeat(
    client: redis.asyncio.Redis, redis_client: redis.Redis
) -> None:
    redis_client.hset("notify-workers:push", mapping={"junk": "{", "list": "[]", "ageless": "{}"})
    assert read_workers(redis_client, CHANNELS, HEARTBEAT_S)["push"] == {}
    await WorkerState(client, "push", "a:1", HEARTBEAT_S).beat({})
    assert redis_client.hkeys("notify-workers:push") == [b"a:1"]


async def test_a_worker_that_comes_back_in_between_is_not_deleted(
    client: redis.asyncio.Redis, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_client.hset("notify-workers:push", "a:1", '{"at_ms":1}')
    forget = client.eval

    async def late(*words: object) -> object:
        redis_client.hset("notify-workers:push", "a:1", '{"at_ms":2}')
        return await forget(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "eval", late)
    await WorkerState(client, "push", "b:2", HEARTBEAT_S).beat({})
    assert redis_client.hget("notify-workers:push", "a:1") == b'{"at_ms":2}'


async def test_an_operators_order_reaches_only_its_channel(
    client: redis.asyncio.Redis, redis_client: redis.Redis
) -> None:
    worker = WorkerState(client, "email", "a:1", HEARTBEAT_S)
    assert await worker.forced() == {}
    force_breaker(redis_client, "email", "smtp", "open")
    force_breaker(redis_client, "email", "smtp2", "closed")
    force_breaker(redis_client, "push", "fcm", "open")
    assert await worker.forced() == {"smtp": "open", "smtp2": "closed"}
    force_breaker(redis_client, "email", "smtp", None)
    assert await worker.forced() == {"smtp2": "closed"}
    assert forced_breakers(redis_client) == {("email", "smtp2"): "closed", ("push", "fcm"): "open"}


async def test_an_unknown_order_forces_nothing(client: redis.asyncio.Redis, redis_client: redis.Redis) -> None:
    redis_client.hset("notify-breakers-forced", mapping={"push/fcm": "ajar", "push": "open"})
    assert await WorkerState(client, "push", "a:1", HEARTBEAT_S).forced() == {}


async def test_an_unavailable_redis_raises_redis_unavailable() -> None:
    url = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    async with async_client(url) as client:
        worker = WorkerState(client, "push", "a:1", HEARTBEAT_S)
        for asked in (worker.beat({}), worker.forced(), worker.remove()):
            with pytest.raises(RedisUnavailable):
                await asked
    with sync_client(url) as redis_client:
        for ask in (
            lambda: read_workers(redis_client, CHANNELS, HEARTBEAT_S),
            lambda: forced_breakers(redis_client),
            lambda: force_breaker(redis_client, "push", "fcm", "open"),
        ):
            with pytest.raises(RedisUnavailable):
                ask()


async def test_a_full_redis_raises_redis_unavailable(
    client: redis.asyncio.Redis, redis_client: redis.Redis, redis_server: RedisServer
) -> None:
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisUnavailable):
            await WorkerState(client, "push", "a:1", HEARTBEAT_S).beat({})
    finally:
        redis_client.config_set("maxmemory", 0)
