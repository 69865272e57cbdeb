import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
import structlog
from pydantic import SecretStr

from ops.servers import RedisServer
from shared.lookup.redis_cache import SharedCache
from shared.metrics import Metrics
from shared.settings.groups.breaker import BreakerPolicy
from shared.settings.load import load_settings
from shared.settings.settings import Settings
from shared.users.directory import HttpDirectory
from shared.users.user import User
from tests.support.peers.source_service import SourceService, found, source_service
from tests.support.waiting import eventually_async

ANN = {"id": "u1", "email": "ann@example.com", "secret": "not ours to keep"}


@pytest.fixture
async def service() -> AsyncIterator[SourceService]:
    async with source_service() as running:
        running.answer = found(ANN)
        yield running


def settings_of(service: SourceService, cache_url: str, **overrides: Any) -> Settings:
    return load_settings(None, user_endpoint=service.url, cache_redis_url=SecretStr(cache_url), **overrides)


async def look_up(settings: Settings, user_id: str = "u1") -> User:
    """Looks up a user with an empty memory cache, as another worker would."""
    async with HttpDirectory(settings, Metrics()) as directory:
        return await directory.user(user_id)


async def test_what_one_worker_has_fetched_the_others_need_not(service: SourceService, redis_url: str) -> None:
    settings = settings_of(service, redis_url)
    assert [await look_up(settings) for _ in range(3)] == [User.model_validate(ANN)] * 3
    assert len(service.paths) == 1


async def test_only_what_we_use_is_kept_and_not_for_ever(service: SourceService, redis_url: str) -> None:
    await look_up(settings_of(service, redis_url, source_ttl_s=60))
    with redis.Redis.from_url(redis_url) as client:
        assert b"secret" not in (client.get("notify-cache:users:u1") or b"")
        assert 0 < client.ttl("notify-cache:users:u1") <= 60


async def test_an_entry_does_not_grow_older_by_being_copied(service: SourceService, redis_url: str) -> None:
    settings = settings_of(service, redis_url, source_ttl_s=60)
    await look_up(settings)
    with redis.Redis.from_url(redis_url) as client:
        client.pexpire("notify-cache:users:u1", 400)
    async with HttpDirectory(settings, Metrics()) as directory:
        await directory.user("u1")
        assert len(service.paths) == 1

        async def asks_again() -> bool:
            await directory.user("u1")
            return len(service.paths) == 2

        assert await eventually_async(asks_again, deadline_s=5)


async def test_large_records_from_the_shared_cache_do_not_fill_the_memory(
    service: SourceService, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.lookup.cached.MOST_CACHED_BYTES", 2_000_000)
    settings = settings_of(service, redis_url, source_ttl_s=60)
    records = [User.model_validate({**ANN, "id": f"u{n}", "locale": "x" * 900_000}) for n in range(3)]
    with redis.Redis.from_url(redis_url) as client:
        client.mset({f"notify-cache:users:{record.id}": record.model_dump_json() for record in records})
        for number in range(3):
            client.expire(f"notify-cache:users:u{number}", 60)
        async with HttpDirectory(settings, Metrics()) as directory:
            for number in range(3):
                await directory.user(f"u{number}")
            client.flushdb()
            await directory.user("u2")
            assert service.paths == []
            await directory.user("u0")
            assert len(service.paths) == 1


@pytest.mark.parametrize("entry", ['{"name": "Ann"}', '{"id": "another", "email": "bob@example.com"}'])
async def test_an_entry_that_is_not_this_users_is_as_good_as_none(
    service: SourceService, redis_url: str, entry: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("notify-cache:users:u1", entry, px=60_000)
    assert (await look_up(settings_of(service, redis_url))).email == "ann@example.com"


async def test_without_redis_users_are_found_all_the_same(service: SourceService) -> None:
    async with HttpDirectory(settings_of(service, "redis://127.0.0.1:1/0"), Metrics()) as directory:
        with structlog.testing.capture_logs() as lines:
            began = time.monotonic()
            for number in range(20):
                await directory.user(f"u{number}")
        assert time.monotonic() - began < 2
    assert [line["event"] for line in lines] == ["shared_cache_lost"]


async def test_it_is_used_again_when_it_is_back(redis_server: RedisServer, redis_url: str) -> None:
    cache = SharedCache(redis_url, "t:", BreakerPolicy(failures=1, open_s=0.05, open_max_s=0.05, successes=1))
    with structlog.testing.capture_logs() as lines:
        redis_server.kill()
        try:
            await cache.put("a", b"1", 60)
            assert await cache.get("a") is None
            assert cache.errors >= 1
        finally:
            redis_server.start()

        async def kept() -> bool:
            await cache.put("a", b"2", 60)
            entry = await cache.get("a")
            return entry is not None and entry[0] == b"2"

        assert await eventually_async(kept)
    await cache.close()
    assert [line["event"] for line in lines] == ["shared_cache_lost", "shared_cache_back"]
