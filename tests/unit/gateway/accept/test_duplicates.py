"""Tests the accepted records: which commands Redis gets, and how little delay a Redis causes that does not answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.accept.duplicates import AcceptedRecords
from shared.redis.batch import Batcher
from tests.support.peers.scripted_redis import ScriptedRedis, ones, scripted_redis

A, B = ("shop", "a"), ("shop", "b")


class World:
    def __init__(self, redis: ScriptedRedis) -> None:
        self.redis = redis
        self.now = 1000.0
        self.batcher = Batcher(f"redis://127.0.0.1:{redis.port}", timeout_s=0.1)
        self.records = AcceptedRecords(self.batcher, ttl_s=3, clock=lambda: self.now)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with scripted_redis() as redis:
        world = World(redis)
        yield world
        await world.batcher.close()


async def test_all_keys_are_found_with_one_command(world: World) -> None:
    world.redis.script = lambda _: b"*2\r\n$2\r\nd1\r\n$-1\r\n"
    assert await world.records.find([A, B]) == ["d1", None]
    assert world.redis.commands == [[b"MGET", b"notify:accepted:shop:a", b"notify:accepted:shop:b"]]


async def test_all_digests_are_written_with_one_command_and_their_time_to_live(world: World) -> None:
    await world.records.remember([(A, "d1"), (B, "d2")])
    (words,) = world.redis.commands
    assert words[2:] == [b"2", b"notify:accepted:shop:a", b"notify:accepted:shop:b", b"3000", b"d1", b"d2"]


async def test_a_silent_redis_delays_one_request_per_second(world: World) -> None:
    world.redis.script = lambda _: None
    assert await world.records.find([A, B]) == [None, None]
    assert len(world.redis.commands) == 1
    world.now += 0.99
    assert await world.records.find([A]) == [None]
    await world.records.remember([(A, "d")])
    assert len(world.redis.commands) == 1
    world.now += 0.02
    assert await world.records.find([A]) == [None]
    assert len(world.redis.commands) == 2


def answers(words: list[bytes]) -> bytes:
    return b"*1\r\n$1\r\nd\r\n" if words[0] == b"MGET" else ones(words)


@pytest.mark.parametrize("asked", ["find", "remember"])
async def test_one_answer_is_enough_for_all_to_ask_again(world: World, asked: str) -> None:
    world.redis.script = lambda _: None
    await world.records.find([A])
    world.redis.script = answers
    world.now += 1.01
    if asked == "find":
        assert await world.records.find([A]) == ["d"]
    else:
        await world.records.remember([(A, "d")])
    found = await asyncio.gather(*(world.records.find([key]) for key in (A, B)))
    assert found == [["d"], ["d"]]


async def test_a_redis_that_cannot_write_is_no_error_and_is_not_asked_for_a_second(world: World) -> None:
    world.redis.script = lambda _: b"-OOM full\r\n"
    await world.records.remember([(A, "d1"), (B, "d2")])
    asked = len(world.redis.commands)
    await world.records.remember([(A, "d1")])
    assert len(world.redis.commands) == asked
    world.now += 1.01
    await world.records.remember([(A, "d1")])
    assert len(world.redis.commands) > asked
