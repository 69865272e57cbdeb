"""Checks claims and records on a real Redis. Each row of their table is checked in ``tests/properties``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.idempotency.claims import PROVIDER_ID_CHARS, Claims
from shared.metrics import Metrics
from tests.support.claims import HASH, LEASE_S, TTL_S, Lab, lab_on

P_MINE = f"P:me:<end>:0:0:{HASH}"


@pytest.fixture
async def lab(redis_url: str) -> AsyncIterator[Lab]:
    async with lab_on(redis_url) as lab:
        yield lab


@pytest.mark.parametrize("junk", ["", "1", "P:", f"P:a:b:c:d:{HASH}", f"F:x-y:0:{HASH}", "Q:1:2", "D:"])
async def test_what_is_no_record_of_ours_says_nothing(lab: Lab, junk: str) -> None:
    lab.store(junk)
    assert await lab.claim() == "yes"
    assert lab.record() == P_MINE


async def test_a_value_of_another_type_says_nothing_either(lab: Lab) -> None:
    lab.redis.rpush(lab.key, "a list")
    assert await lab.claim() == "yes"
    assert lab.record() == P_MINE


async def test_a_lease_runs_out_by_itself(redis_url: str) -> None:
    async with Claims(redis_url, lease_s=0.15, ttl_s=TTL_S, metrics=Metrics()) as claims:
        assert (await claims.claim("push", "r", "dead", 0, 0, HASH, False)).verdict == "yes"
        began = time.monotonic()
        held = await claims.claim("push", "r", "me", 0, 0, HASH, True)
        assert held.verdict == "held"
        while (await claims.claim("push", "r", "me", 0, 0, HASH, True)).verdict == "held":
            await asyncio.sleep(0.005)
            assert time.monotonic() - began < 5
        assert time.monotonic() - began >= held.lease_left_s - 0.01


async def test_of_many_workers_that_claim_at_once_one_gets_it(lab: Lab, redis_url: str) -> None:
    async with Claims(redis_url, lease_s=LEASE_S, ttl_s=TTL_S, metrics=lab.metrics) as second:
        answers = await asyncio.gather(
            *(
                claims.claim("push", "contended", f"token{n}", 0, 0, HASH, False)
                for n in range(200)
                for claims in (lab.claims, second)
            )
        )
    # Token n asks twice, over two connections: it holds the claim both times.
    verdicts = sorted(answer.verdict for answer in answers)
    assert verdicts == ["held"] * 398 + ["yes"] * 2
    assert all(LEASE_S - 2 < answer.lease_left_s <= LEASE_S for answer in answers if answer.verdict == "held")


async def test_what_a_provider_calls_a_message_cannot_spoil_the_record(lab: Lab) -> None:
    await lab.claim()
    await lab.claims.done("push", lab.request_id, "me", HASH, "fcm", "\ud800\r\n*3" + "x" * 100_000)
    assert await lab.claim("other") == "duplicate"
    assert len(lab.redis.get(lab.key)) <= len(f"D:{HASH}:fcm:") + PROVIDER_ID_CHARS  # type: ignore[arg-type]


async def test_every_record_lives_as_long_as_done(lab: Lab) -> None:
    await lab.claim()
    lives = [lab.redis.pttl(lab.key)]
    await lab.claims.release("push", lab.request_id, "me")
    lives.append(lab.redis.pttl(lab.key))
    await lab.claim()
    await lab.claims.forwarded("push", lab.request_id, "me", 0, 1)
    lives.append(lab.redis.pttl(lab.key))
    await lab.claims.done("push", lab.request_id, "me", HASH, "fcm", "x")
    lives.append(lab.redis.pttl(lab.key))
    await lab.claims.mark_token(lab.request_id, "digest")
    lives.append(lab.redis.pttl(f"notify-tokens:{lab.request_id}"))
    assert all(TTL_S * 1000 - 5000 < life <= TTL_S * 1000 for life in lives), lives


async def test_channels_do_not_share_a_record(lab: Lab) -> None:
    assert await lab.claim() == "yes"
    assert (await lab.claims.claim("email", lab.request_id, "other", 0, 0, HASH, False)).verdict == "yes"


async def test_served_targets_are_remembered_by_their_digest(lab: Lab) -> None:
    assert await lab.claims.served_tokens("r:1") == set()
    await asyncio.gather(*(lab.claims.mark_token("r:1", digest) for digest in ("aa", "bb", "aa")))
    assert await lab.claims.served_tokens("r:1") == {"aa", "bb"}
    assert await lab.claims.served_tokens("r") == set()


async def test_a_record_is_small(lab: Lab) -> None:
    """Checks the size on which the sizing of Redis is based.

    A record's share of Redis' two tables (keys, times of expiry) comes on top: 60 to 90 bytes.
    """
    lab = replace(lab, request_id="0123456789abcdef-000001")
    await lab.claim("f" * 32)
    assert int(lab.redis.memory_usage(lab.key) or 0) <= 200
    provider_id = "projects/my-project/messages/0:1763000000000000%31bd1c96f9fd7ecd"
    await lab.claims.done("push", lab.request_id, "f" * 32, HASH, "fcm", provider_id)
    assert int(lab.redis.memory_usage(lab.key) or 0) <= 200
