"""Checks that clients fail fast, and checks the server check at start."""

from __future__ import annotations

import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from ops.servers import RedisServer, free_ports
from shared.errors import BadSettings, RedisUnavailable
from shared.redis.client import async_client, check_durable, read_facts, sync_client


def nobody() -> str:
    return f"redis://127.0.0.1:{free_ports(1)[0]}/0"


async def test_a_refused_connection_is_not_tried_again_behind_our_back() -> None:
    client, began = async_client(nobody()), time.monotonic()
    with pytest.raises(RedisUnavailable):
        await read_facts(client)
    with sync_client(nobody()) as blocking, pytest.raises(RedisConnectionError):
        blocking.ping()
    assert time.monotonic() - began < 0.5
    await client.aclose()


async def test_a_silent_server_is_given_up_in_time(redis_server: RedisServer, redis_url: str) -> None:
    client, began = async_client(redis_url), time.monotonic()
    redis_server.pause()
    try:
        with pytest.raises(RedisUnavailable):
            await read_facts(client)
    finally:
        redis_server.resume()
    assert time.monotonic() - began < 1.5
    await client.aclose()


async def test_a_durable_server_passes(redis_url: str) -> None:
    async with async_client(redis_url) as client:
        facts = await check_durable(client, production=True)
    assert facts.problems() == []
    assert facts.memory_share == 0


async def test_an_unfit_server_is_refused_in_production_and_warned_of_elsewhere(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with sync_client(redis_url) as control:
        control.config_set("appendonly", "no")
        control.config_set("maxmemory-policy", "allkeys-lru")
        try:
            async with async_client(redis_url) as client:
                await check_durable(client, production=False)
                with pytest.raises(BadSettings) as caught:
                    await check_durable(client, production=True)
        finally:
            control.config_set("appendonly", "yes")
            control.config_set("maxmemory-policy", "noeviction")
    assert len(caught.value.problems) == 2
    assert "appendonly" in str(caught.value)
    assert "allkeys-lru" in str(caught.value)
    assert capsys.readouterr().out.count("redis_is_unfit_for_production") == 2


async def test_the_share_of_memory_in_use_is_known(redis_url: str) -> None:
    with sync_client(redis_url) as control:
        control.config_set("maxmemory", 100_000_000)
        try:
            async with async_client(redis_url) as client:
                assert 0 < (await read_facts(client)).memory_share < 0.5
        finally:
            control.config_set("maxmemory", 0)
