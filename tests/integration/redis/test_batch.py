"""Checks the batcher with a real Redis that loses its scripts, is full, read-only, suspended, killed or restarted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import redis

from ops.servers import RedisServer
from shared.errors import RedisUnavailable
from shared.idempotency.claims import ClaimAnswer, Claims
from shared.metrics import Metrics
from shared.redis.batch import MOST_CALLS
from shared.redis.client import TIMEOUT_S, sync_client
from tests.support.claims import HASH
from tests.support.waiting import eventually_async

Outcome = ClaimAnswer | BaseException


async def claim_many(claims: Claims, number: int, name: str = "r") -> list[Outcome]:
    return await asyncio.gather(
        *(claims.claim("push", f"{name}{n}", f"t{n}", 0, 0, HASH, False) for n in range(number)),
        return_exceptions=True,
    )


def kinds(outcomes: list[Outcome]) -> set[str]:
    return {one.verdict if isinstance(one, ClaimAnswer) else type(one).__name__ for one in outcomes}


async def serves_again(claims: Claims) -> None:
    """Waits until the same batcher is served again after Redis is back."""

    give_up_at = time.monotonic() + 10
    while True:
        try:
            await claims.ping()
            break
        except RedisUnavailable:
            assert time.monotonic() < give_up_at
            await asyncio.sleep(0.02)
    assert kinds(await claim_many(claims, 300, "again")) == {"yes"}


async def test_what_is_asked_in_one_turn_travels_in_one_command(claims: Claims, redis_url: str) -> None:
    await claims.ping()
    with sync_client(redis_url) as client:
        await claim_many(claims, 1, "learn the script")
        client.config_resetstat()
        assert kinds(await claim_many(claims, 2 * MOST_CALLS + 1)) == {"yes"}
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 3
        assert client.dbsize() == 2 * MOST_CALLS + 1 + 2


async def test_each_gets_his_own_answer(claims: Claims) -> None:
    await claim_many(claims, 300)
    for n in range(0, 300, 3):
        await claims.done("push", f"r{n}", f"t{n}", HASH, "fcm", "x")
    answers = await asyncio.gather(*(claims.claim("push", f"r{n}", "z", 0, 0, HASH, False) for n in range(300)))
    assert [answer.verdict for answer in answers] == ["duplicate", "held", "held"] * 100


async def test_forgotten_scripts_are_learnt_again(claims: Claims, redis_url: str) -> None:
    await claim_many(claims, 2)
    with sync_client(redis_url) as client:
        client.script_flush()
        assert kinds(await claim_many(claims, 300, "after")) == {"yes"}
        client.flushall()
        client.script_flush()
        assert kinds(await claim_many(claims, 300, "after")) == {"yes"}


async def test_one_message_that_cannot_be_written_is_that_ones_alone(claims: Claims, redis_url: str) -> None:
    with sync_client(redis_url) as client:
        client.set("notify-tokens:spoilt", "not a hash")
        spoilt, fine = await asyncio.gather(
            claims.mark_token("spoilt", "aa"), claims.mark_token("fine", "aa"), return_exceptions=True
        )
    assert isinstance(spoilt, RedisUnavailable)
    assert fine is None
    assert await claims.served_tokens("fine") == {"aa"}


def fill(client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)


def turn_read_only(client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", 1)


@pytest.mark.parametrize(("spoil", "word"), [(fill, "OOM"), (turn_read_only, "READONLY")])
async def test_a_redis_that_cannot_write_says_so_to_every_transition_and_to_the_probe(
    claims: Claims, redis_url: str, spoil: Callable[[redis.Redis], None], word: str
) -> None:
    """Checks that an unwritten outcome never looks written: the message would be acked, and sent again."""
    await claim_many(claims, 2)
    with sync_client(redis_url) as client:
        before = client.get("notify:push:r0")
        spoil(client)
        try:
            for asked in (
                claims.ping(),
                claims.claim("push", "new", "t", 0, 0, HASH, False),
                claims.claim("push", "r0", "t0", 0, 0, HASH, False),
                claims.done("push", "r0", "t0", HASH, "fcm", "x"),
                claims.forwarded("push", "r0", "t0", 0, 1),
                claims.release("push", "r0", "t0"),
                claims.mark_token("r0", "aa"),
            ):
                with pytest.raises(RedisUnavailable, match=word):
                    await asked
            assert client.get("notify:push:r0") == before
        finally:
            client.config_set("maxmemory", 0)
            client.replicaof("NO", "ONE")
    await serves_again(claims)


async def test_a_killed_redis_fails_all_and_is_found_again(claims: Claims, redis_server: RedisServer) -> None:
    assert kinds(await claim_many(claims, 300)) == {"yes"}
    try:
        redis_server.kill()
        began = time.monotonic()
        assert kinds(await claim_many(claims, 300, "dead")) == {"RedisUnavailable"}
        assert time.monotonic() - began < 3 * TIMEOUT_S
    finally:
        redis_server.start()
    await serves_again(claims)


async def test_a_redis_killed_under_load_leaves_nobody_waiting(claims: Claims, redis_server: RedisServer) -> None:
    outcomes: list[Outcome] = []

    async def ask(worker: int) -> None:
        for n in range(10_000):
            try:
                outcomes.append(await claims.claim("push", f"{worker}-{n}", "t", 0, 0, HASH, False))
            except RedisUnavailable as exc:
                outcomes.append(exc)
                return

    workers = [asyncio.ensure_future(ask(worker)) for worker in range(200)]
    try:
        await eventually_async(lambda: len(outcomes) > 2000)
        await asyncio.to_thread(redis_server.kill)
        await asyncio.wait_for(asyncio.gather(*workers), 10)
    finally:
        redis_server.start()
    assert kinds(outcomes) == {"yes", "RedisUnavailable"}
    await serves_again(claims)


async def test_a_redis_that_stands_still_is_given_up_in_time(claims: Claims, redis_server: RedisServer) -> None:
    await claim_many(claims, 2)
    try:
        redis_server.pause()
        began = time.monotonic()
        assert kinds(await claim_many(claims, 300, "silent")) == {"RedisUnavailable"}
        assert TIMEOUT_S <= time.monotonic() - began < 3 * TIMEOUT_S + 0.5
    finally:
        redis_server.resume()
    await serves_again(claims)
    # Calls that were sent before the suspension were carried out after it; the same tokens may repeat them.
    assert kinds(await claim_many(claims, 300, "silent")) == {"yes"}


async def test_a_connection_cut_by_the_server_is_made_again(claims: Claims, redis_url: str) -> None:
    await claims.ping()
    with sync_client(redis_url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    await serves_again(claims)


async def test_a_password_and_a_database_are_used(redis_url: str) -> None:
    with sync_client(redis_url) as client:
        client.acl_setuser("worker", enabled=True, passwords=["+p@ss:word/"], keys=["*"], commands=["+@all"])
        address = redis_url.removeprefix("redis://").removesuffix("/0")
        try:
            url = f"redis://worker:p%40ss%3Aword%2F@{address}/5"
            async with Claims(url, lease_s=60, ttl_s=3600, metrics=Metrics()) as claims:
                assert kinds(await claim_many(claims, 2)) == {"yes"}
            with sync_client(redis_url.replace("/0", "/5")) as fifth:
                assert fifth.dbsize() == 2
            wrong = f"redis://worker:wr%40ng@{address}/5"
            async with Claims(wrong, lease_s=60, ttl_s=3600, metrics=Metrics()) as claims:
                with pytest.raises(RedisUnavailable, match="WRONGPASS") as caught:
                    await claims.ping()
                assert "wr@ng" not in str(caught.value)
        finally:
            client.acl_deluser("worker")
