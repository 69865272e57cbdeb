"""Checks that every client reaches the master that the Sentinels name, and the next one after a failover."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from shared.errors import RedisUnavailable
from shared.redis.batch import Batcher
from shared.redis.client import async_client, sync_client
from tests.support.peers.scripted_redis import ScriptedRedis, ones, scripted_redis
from tests.support.waiting import eventually_async

READ_ONLY = b"-READONLY You can't write against a read only replica.\r\n"


HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"


def reply(words: list[bytes]) -> bytes:
    """Answers as a healthy master."""
    if words[0] == b"HELLO":
        return HELLO
    return b"+PONG\r\n" if words[0] == b"PING" else ones(words)


@dataclass
class Watched:
    """Holds two Redis and the Sentinels' URL; ``master`` is the one that the Sentinels name, or none."""

    one: ScriptedRedis
    two: ScriptedRedis
    sentinel: ScriptedRedis
    master: ScriptedRedis | None
    url: str = ""

    def say(self, words: list[bytes]) -> bytes:
        if words[0] == b"HELLO":
            return HELLO
        if words[0] != b"SENTINEL":
            return b"+OK\r\n"
        if self.master is None:
            return b"*0\r\n"
        state = [b"name", b"main", b"ip", b"127.0.0.1", b"port", b"%d" % self.master.port, b"flags", b"master"]
        fields = [*state, b"num-other-sentinels", b"0"]
        body = b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in fields)
        return b"*1\r\n%%%d\r\n%b" % (len(fields) // 2, body)


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    async with AsyncExitStack() as stack:
        one, two, sentinel = [await stack.enter_async_context(scripted_redis(reply)) for _ in range(3)]
        system = Watched(one, two, sentinel, one)
        sentinel.script = system.say
        # The first Sentinel does not exist.
        hosts = f"127.0.0.1:1,127.0.0.1:{sentinel.port}"
        system.url = f"redis+sentinel://me:a-password@{hosts}/main/2?sentinel_password=theirs"
        yield system


@pytest.mark.parametrize(
    "refusal", [READ_ONLY, b"*1\r\n" + READ_ONLY, None], ids=["read-only", "read-only in a script", "lost"]
)
async def test_after_a_failover_the_batcher_reaches_the_new_master(refusal: bytes | None) -> None:
    async with watched() as system:
        batcher = Batcher(system.url, timeout_s=2)
        script = batcher.script("return 1")
        assert await script.call(b"key", b"argument") == 1
        assert [b"AUTH", b"me", b"a-password"] in system.one.commands
        assert [b"SELECT", b"2"] in system.one.commands
        assert any(b"theirs" in words for words in system.sentinel.commands)

        system.master = system.two
        if refusal is None:
            system.one.hang_up()
            await asyncio.sleep(0.05)
        else:
            system.one.script = lambda _: refusal
            with pytest.raises(RedisUnavailable, match="READONLY"):
                await script.call(b"key", b"argument")
        assert await script.call(b"key", b"argument") == 1
        assert any(words[0] == b"EVALSHA" for words in system.two.commands)
        await batcher.close()
        # No connection stays open, neither to a Redis nor to a Sentinel.
        await eventually_async(lambda: all(transport.is_closing() for transport in system.sentinel.open))


async def test_without_a_master_redis_counts_as_unavailable() -> None:
    async with watched() as system:
        system.master = None
        batcher = Batcher(system.url, timeout_s=2)
        with pytest.raises(RedisUnavailable, match="no Sentinel names a living master 'main'"):
            await batcher.script("return 1").call(b"key", b"argument")
        await batcher.close()


async def test_the_clients_for_loops_and_threads_ask_the_sentinels_too() -> None:
    async with watched() as system:
        client = async_client(system.url)
        assert await client.ping()
        system.master = system.two
        system.one.hang_up()
        with pytest.raises(Exception):  # noqa: B017 - the lost connection; the next one is tried anew
            await client.ping()
        assert await client.ping()
        await client.aclose()

        def ping() -> bool:
            with sync_client(system.url) as blocking:
                return bool(blocking.ping())

        assert await asyncio.to_thread(ping)
        assert [b"PING"] in system.two.commands
