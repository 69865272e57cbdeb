"""Checks the batcher with a Redis that answers errors or nonsense, is late, or closes the connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from shared.errors import RedisUnavailable
from shared.redis.batch import MOST_CALLS, MOST_IN_FLIGHT, BatchedScript, Batcher
from tests.support.peers.scripted_redis import Script, ScriptedRedis, ones, scripted_redis
from tests.support.waiting import eventually_async

#: how long the tests of a silent Redis wait; the others must not run into it on a busy machine
TIMEOUT_S, PATIENT_S = 0.2, 5.0


@asynccontextmanager
async def batching(
    replies: Script = ones, timeout_s: float = PATIENT_S, url: str = "redis://127.0.0.1:{port}/0"
) -> AsyncIterator[tuple[ScriptedRedis, Batcher, BatchedScript]]:
    """Yields a Redis that replies as told, a batcher for it, and a script of one call."""
    async with scripted_redis(replies) as redis:
        batcher = Batcher(url.format(port=redis.port), timeout_s=timeout_s)
        yield redis, batcher, batcher.script("return 1")
        await batcher.close()


def calls(script: BatchedScript, number: int) -> asyncio.Future[list[Any]]:
    return asyncio.gather(*(script.call(b"key%d" % n, b"argument") for n in range(number)), return_exceptions=True)


def outcomes(answers: list[Any]) -> set[Any]:
    return {type(answer) if isinstance(answer, BaseException) else answer for answer in answers}


@pytest.mark.parametrize(
    "error",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "BUSY Redis is busy running a script.",
        "NOAUTH Authentication required.",
        "NOPERM this user has no permissions to run the 'evalsha' command",
        "CLUSTERDOWN The cluster is down",
        "ERR anything else",
    ],
)
async def test_every_error_says_that_redis_cannot_serve_and_frees_the_batcher(error: str) -> None:
    async with batching(lambda _: f"-{error}\r\n".encode()) as (redis, _, script):
        with pytest.raises(RedisUnavailable, match=error.split()[0]):
            await script.call(b"key", b"argument")
        redis.script = ones
        assert await script.call(b"key", b"argument") == 1


async def test_one_bad_answer_in_a_reply_is_one_callers_alone() -> None:
    async with batching(lambda _: b"*3\r\n:1\r\n-OOM full\r\n:1\r\n") as (_, _, script):
        first, second, third = await calls(script, 3)
        assert (first, third) == (1, 1)
        assert isinstance(second, RedisUnavailable)


@pytest.mark.parametrize("reply", [b"+OK\r\n", b"*1\r\n:1\r\n", b"$-1\r\n", b":7\r\n"])
async def test_an_answer_of_another_shape_fails_its_own_batch_only(reply: bytes) -> None:
    async with batching(lambda _: reply) as (redis, _, script):
        assert outcomes(await calls(script, 2)) == {RedisUnavailable}
        redis.script = ones
        assert outcomes(await calls(script, 2)) == {1}
        assert redis.connections == 1


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*1\r\n:1\r\n:1\r\n"])
async def test_a_connection_that_answers_out_of_turn_is_dropped(reply: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with batching(lambda _: reply, TIMEOUT_S) as (redis, _, script):
        await calls(script, 1)
        redis.script = ones
        assert await calls(script, 2) == [1, 1]
        assert redis.connections == 2
        assert caplog.records == []


async def test_a_late_answer_is_never_given_to_a_later_call() -> None:
    async with batching(lambda words: None if words[3] == b"key0" else b"*1\r\n:42\r\n", TIMEOUT_S) as (
        redis,
        _,
        script,
    ):
        began = time.monotonic()
        with pytest.raises(RedisUnavailable, match="did not answer"):
            await script.call(b"key0", b"argument")
        assert time.monotonic() - began < TIMEOUT_S + 0.5
        assert await script.call(b"key1", b"argument") == 42
        assert redis.connections == 2


async def test_a_reply_in_pieces_is_one_reply() -> None:
    async with batching(lambda _: None, timeout_s=5) as (redis, _, script):
        waiting = calls(script, 2)
        await eventually_async(lambda: redis.commands)
        for piece in (b"*", b"2\r\n:1", b"\r", b"\n:1\r\n"):
            redis.say(piece)
            await asyncio.sleep(0)
        assert await waiting == [1, 1]


async def test_a_forgotten_script_is_sent_again_whole() -> None:
    def forgetful(words: list[bytes]) -> bytes:
        return b"-NOSCRIPT No matching script.\r\n" if words[0] == b"EVALSHA" else ones(words)

    async with batching(forgetful) as (redis, _, script):
        assert await calls(script, 3) == [1, 1, 1]
        assert [words[0] for words in redis.commands] == [b"EVALSHA", b"EVAL"]
        assert redis.commands[1][1] == b"return 1"


async def test_a_lost_connection_fails_what_was_sent_and_nothing_else() -> None:
    async with batching(lambda _: None, timeout_s=5) as (redis, _, script):
        sent = MOST_CALLS * MOST_IN_FLIGHT
        waiting = calls(script, sent + 10)
        await eventually_async(lambda: len(redis.commands) == MOST_IN_FLIGHT)
        redis.script = ones
        redis.hang_up()
        answers = await waiting
        assert outcomes(answers[:sent]) == {RedisUnavailable}
        assert answers[sent:] == [1] * 10


async def test_an_idle_connection_that_was_cut_costs_nobody_an_error() -> None:
    async with batching() as (redis, batcher, script):
        assert await script.call(b"key", b"argument") == 1
        wire = batcher._wire
        redis.hang_up()
        await eventually_async(lambda: wire is not None and wire.closed)
        assert await script.call(b"key", b"argument") == 1


async def test_a_cancelled_caller_disturbs_nobody() -> None:
    async with batching(lambda _: None, timeout_s=5) as (redis, _, script):

        async def call(n: int) -> Any:
            return await script.call(b"key%d" % n, b"argument")

        tasks = [asyncio.ensure_future(call(n)) for n in range(5)]
        await eventually_async(lambda: redis.commands)
        tasks[2].cancel()
        redis.say(b"*5\r\n:0\r\n:1\r\n:2\r\n:3\r\n:4\r\n")
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert answers[:2] + answers[3:] == [0, 1, 3, 4]
        assert isinstance(answers[2], asyncio.CancelledError)


async def test_a_refused_connection_fails_the_call_at_once() -> None:
    async with scripted_redis() as redis:
        batcher = Batcher(f"redis://127.0.0.1:{redis.port}", timeout_s=TIMEOUT_S)
    began = time.monotonic()
    with pytest.raises(RedisUnavailable, match="no connection"):
        await batcher.script("return 1").call(b"key", b"argument")
    assert time.monotonic() - began < TIMEOUT_S + 0.5
    await batcher.close()


async def test_a_name_that_cannot_be_looked_up_leaves_nobody_waiting() -> None:
    batcher = Batcher(f"redis://{'x' * 70}.invalid:6379/0", timeout_s=2)
    with pytest.raises(RedisUnavailable):
        await batcher.script("return 1").call(b"key", b"argument")
    await batcher.close()


async def test_a_server_that_accepts_and_is_silent_is_given_up() -> None:
    async with batching(lambda _: None, TIMEOUT_S, url="redis://:a-password@127.0.0.1:{port}/2") as (_, _, script):
        with pytest.raises(RedisUnavailable) as caught:
            await script.call(b"key", b"argument")
        assert "a-password" not in str(caught.value)


async def test_login_and_database_come_before_the_first_command() -> None:
    async with batching(url="redis://worker:a-password@127.0.0.1:{port}/2") as (redis, batcher, _):
        await batcher.command("PING")
        assert redis.commands == [[b"AUTH", b"worker", b"a-password"], [b"SELECT", b"2"], [b"PING"]]


async def test_after_the_end_nobody_waits() -> None:
    async with batching(lambda _: None, timeout_s=5) as (redis, batcher, script):
        waiting = calls(script, MOST_CALLS * (MOST_IN_FLIGHT + 1))
        await eventually_async(lambda: redis.commands)
        await batcher.close()
        assert outcomes(await waiting) == {RedisUnavailable}
        with pytest.raises(RedisUnavailable, match="closed"):
            await script.call(b"key", b"argument")


async def test_an_end_while_connecting_leaves_nobody_waiting() -> None:
    async with batching(lambda _: None, 5, "redis://:a-password@127.0.0.1:{port}/0") as (redis, batcher, script):
        waiting = calls(script, 3)
        await eventually_async(lambda: redis.commands)
        await batcher.close()
        assert outcomes(await waiting) == {RedisUnavailable}


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_suspended_process_reads_its_answers_before_it_drops_the_connection(run: Any) -> None:
    def standstill(words: list[bytes]) -> bytes:
        # The server shares our event loop: when the loop goes on, the answer is in our socket and its deadline is over.
        time.sleep(TIMEOUT_S * 2)
        return ones(words)

    async def main() -> None:
        async with batching(timeout_s=TIMEOUT_S) as (redis, batcher, script):
            await batcher.command("PING")
            redis.script = standstill
            assert outcomes(await calls(script, 3)) == {1}
            assert redis.connections == 1

    run(main())
