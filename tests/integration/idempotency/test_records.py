"""Checks each row of the transition table for done, forwarded and release, on a real Redis, and all records' lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.idempotency.claims import END, PROVIDER_ID_CHARS, Forwarded
from tests.support.claims import HASH, LAPSED, OTHER_HASH, RUNNING, TTL_S, Lab, lab_on


@pytest.fixture
async def lab(redis_url: str) -> AsyncIterator[Lab]:
    async with lab_on(redis_url) as lab:
        yield lab


async def test_done_replaces_our_claim(lab: Lab) -> None:
    await lab.claim()
    await lab.claims.done("push", lab.request_id, "me", HASH, "fcm", "projects/p:1/messages/2")
    assert lab.record() == f"D:{HASH}:fcm:projects/p:1/messages/2"
    assert lab.counted() == {}


async def test_skipped_is_a_kind_of_done(lab: Lab) -> None:
    await lab.claim()
    await lab.claims.done("push", lab.request_id, "me", HASH, "", "")
    assert lab.record() == f"D:{HASH}:skipped"


@pytest.mark.parametrize(
    "record",
    [
        None,
        f"P:other:{RUNNING}:0:0:{HASH}",
        f"P:me2:{RUNNING}:0:0:{HASH}",
        f"F:end:0:{HASH}",
        f"F:1:0:{OTHER_HASH}",
        f"D:{HASH}:fcm:another",
    ],
)
async def test_done_is_recorded_over_anything_and_counted(lab: Lab, record: str | None) -> None:
    if record is not None:
        lab.store(record)
    await lab.claims.done("push", lab.request_id, "me", HASH, "fcm", "x")
    assert lab.record() == f"D:{HASH}:fcm:x"
    assert lab.counted() == {"lease_lost": 1}


async def test_done_over_our_own_lapsed_lease_is_still_ours(lab: Lab) -> None:
    lab.store(f"P:me:{LAPSED}:0:0:{HASH}")
    await lab.claims.done("push", lab.request_id, "me", HASH, "fcm", "x")
    assert lab.counted() == {}


async def test_done_may_be_repeated_after_a_lost_answer(lab: Lab) -> None:
    await lab.claim()
    for _ in range(2):
        await lab.claims.done("push", lab.request_id, "me", HASH, "fcm", "x")
    assert lab.counted() == {}


async def test_what_a_provider_calls_a_message_cannot_spoil_the_record(lab: Lab) -> None:
    await lab.claim()
    await lab.claims.done("push", lab.request_id, "me", HASH, "fcm", "\ud800\r\n*3" + "x" * 100_000)
    assert await lab.claim("other") == "duplicate"
    assert len(lab.redis.get(lab.key)) <= len(f"D:{HASH}:fcm:") + PROVIDER_ID_CHARS  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [1, 4, 3, END])
@pytest.mark.parametrize("lease_end", [LAPSED, RUNNING])
async def test_a_forward_replaces_our_claim(lab: Lab, n: Forwarded, lease_end: int) -> None:
    lab.store(f"P:me:{lease_end}:7:3:{HASH}")
    await lab.claims.forwarded("push", lab.request_id, "me", 7, n)
    assert lab.record() == f"F:{n}:7:{HASH}"
    assert lab.counted() == {}


@pytest.mark.parametrize(
    "record",
    [
        None,
        f"P:other:{RUNNING}:0:0:{HASH}",
        f"P:other:{LAPSED}:0:0:{HASH}",
        f"P:me2:{RUNNING}:0:0:{HASH}",
        f"F:0:0:{HASH}",
        f"F:11:0:{HASH}",
        f"F:1:1:{HASH}",
        f"D:{HASH}:fcm:x",
    ],
)
async def test_a_forward_of_a_lost_claim_changes_nothing_and_is_counted(lab: Lab, record: str | None) -> None:
    if record is not None:
        lab.store(record)
    before = lab.record()
    await lab.claims.forwarded("push", lab.request_id, "me", 0, 1)
    assert lab.record() == before
    assert lab.counted() == {"lease_lost": 1}


async def test_a_forward_may_be_recorded_again_after_a_lost_answer(lab: Lab) -> None:
    await lab.claim()
    for _ in range(2):
        await lab.claims.forwarded("push", lab.request_id, "me", 0, END)
    assert lab.record() == f"F:end:0:{HASH}"
    assert lab.counted() == {}


async def test_after_an_uncounted_retry_both_copies_may_be_claimed_but_not_together(lab: Lab) -> None:
    await lab.claim("first", attempt=2)
    await lab.claims.forwarded("push", lab.request_id, "first", 0, 2)
    assert await lab.claim("original", attempt=2) == "yes"
    assert await lab.claim("copy", attempt=2) == "held"


async def test_after_the_end_only_a_replay_may_be_claimed(lab: Lab) -> None:
    await lab.claim()
    await lab.claims.forwarded("push", lab.request_id, "me", 0, END)
    assert await lab.claim("other", attempt=99) == "stale"
    assert await lab.claim("other", replay=1_763_000_000_000) == "yes"


async def test_a_released_message_may_be_claimed_at_once_with_its_own_attempt(lab: Lab) -> None:
    await lab.claim(replay=4, attempt=2)
    await lab.claims.release("push", lab.request_id, "me")
    assert lab.record() == f"F:2:4:{HASH}"
    assert await lab.claim("other", replay=4, attempt=1) == "stale"
    assert await lab.claim("other", replay=4, attempt=2) == "yes"
    # The only lost state is that of attempt 2 before its first claim; the record of the first attempt was there.
    assert lab.counted() == {"state_lost": 1}


@pytest.mark.parametrize("record", [None, f"P:other:{RUNNING}:0:0:{HASH}", f"F:0:0:{HASH}", f"D:{HASH}:fcm:x"])
async def test_a_release_touches_only_our_claim(lab: Lab, record: str | None) -> None:
    if record is not None:
        lab.store(record)
    before = lab.record()
    await lab.claims.release("push", lab.request_id, "me")
    assert lab.record() == before
    assert lab.counted() == {"lease_lost": 1}


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
