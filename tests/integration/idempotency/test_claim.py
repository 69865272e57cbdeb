"""Checks each row of the transition table for claims, on a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from shared.idempotency.claims import Claims
from shared.metrics import Metrics
from tests.support.claims import HASH, LAPSED, LEASE_S, OTHER_HASH, RUNNING, TTL_S, Lab, lab_on

P_MINE = f"P:me:<end>:0:0:{HASH}"


@pytest.fixture
async def lab(redis_url: str) -> AsyncIterator[Lab]:
    async with lab_on(redis_url) as lab:
        yield lab


async def test_nothing_stored_is_claimed(lab: Lab) -> None:
    assert await lab.claim() == "yes"
    assert lab.record() == P_MINE
    assert lab.counted() == {}


@pytest.mark.parametrize(("attempt", "redelivered"), [(0, True), (1, False), (3, True)])
async def test_a_record_that_should_be_there_and_is_not_is_counted(lab: Lab, attempt: int, redelivered: bool) -> None:
    assert await lab.claim(attempt=attempt, redelivered=redelivered) == "yes"
    assert lab.counted() == {"state_lost": 1}


@pytest.mark.parametrize("record", [f"F:1:0:{HASH}", f"P:other:{LAPSED}:0:1:{HASH}"])
async def test_a_record_that_is_there_is_not_counted_as_lost(lab: Lab, record: str) -> None:
    lab.store(record)
    assert await lab.claim(attempt=1, redelivered=True) == "yes"
    assert "state_lost" not in lab.counted()


@pytest.mark.parametrize(
    "record",
    [
        f"P:other:{RUNNING}:0:0:{HASH}",
        f"P:other:{LAPSED}:0:0:{HASH}",
        f"F:0:0:{HASH}",
        f"F:end:0:{HASH}",
        f"D:{HASH}:fcm:projects/p/messages/1:2",
        f"D:{HASH}:skipped",
    ],
)
async def test_another_body_under_the_same_id_is_reused(lab: Lab, record: str) -> None:
    lab.store(record)
    assert await lab.claim(replay=9, attempt=9, body=OTHER_HASH) == "reused"
    assert lab.redis.get(lab.key) == record.encode()


@pytest.mark.parametrize("record", [f"D:{HASH}:fcm:a:b:c", f"D:{HASH}:fcm:", f"D:{HASH}:skipped"])
async def test_done_is_a_duplicate_for_ever(lab: Lab, record: str) -> None:
    lab.store(record)
    assert await lab.claim(replay=7, attempt=7) == "duplicate"
    assert lab.record() == record


@pytest.mark.parametrize("lease_end", [LAPSED, RUNNING])
async def test_our_own_claim_is_renewed(lab: Lab, lease_end: int) -> None:
    lab.store(f"P:me:{lease_end}:0:0:{HASH}")
    assert await lab.claim() == "yes"
    seconds, microseconds = lab.redis.time()
    now_ms = seconds * 1000 + microseconds // 1000
    stored = lab.redis.get(lab.key).decode().split(":")  # type: ignore[union-attr]
    assert now_ms + LEASE_S * 1000 - 2000 < int(stored[2]) <= now_ms + LEASE_S * 1000
    assert lab.counted() == {}


async def test_anothers_running_lease_holds_the_message(lab: Lab) -> None:
    assert await lab.claim("other") == "yes"
    answer = await lab.claims.claim("push", lab.request_id, "me", 9, 9, HASH, True)
    assert answer.verdict == "held"
    assert LEASE_S - 2 < answer.lease_left_s <= LEASE_S
    assert lab.record() == f"P:other:<end>:0:0:{HASH}"
    assert lab.counted() == {}


# (stored attempt, stored replay), (claimed attempt, claimed replay)
NOW = 1_763_000_000_000
ABOVE = [
    ((1, 0), (0, 0)),
    ((0, 1), (0, 0)),
    ((0, 1), (5, 0)),
    ((10, 0), (9, 0)),
    ((0, NOW + 1), (9, NOW)),
]
NOT_ABOVE = [
    ((0, 0), (0, 0)),
    ((0, 0), (1, 0)),
    ((5, 0), (0, 1)),
    ((9, 0), (10, 0)),
    ((3, 1), (3, 1)),
    ((9, NOW), (0, NOW + 1)),
]


@pytest.mark.parametrize(("stored", "copy"), [*ABOVE, (("end", 0), (99, 0)), (("end", 1), (99, 0))])
async def test_a_copy_below_what_was_forwarded_is_stale(
    lab: Lab, stored: tuple[int | str, int], copy: tuple[int, int]
) -> None:
    record = f"F:{stored[0]}:{stored[1]}:{HASH}"
    lab.store(record)
    assert await lab.claim(attempt=copy[0], replay=copy[1]) == "stale"
    assert lab.record() == record


@pytest.mark.parametrize(("stored", "copy"), [*NOT_ABOVE, (("end", 0), (0, 1))])
async def test_a_copy_at_or_above_what_was_forwarded_is_claimed(
    lab: Lab, stored: tuple[int | str, int], copy: tuple[int, int]
) -> None:
    lab.store(f"F:{stored[0]}:{stored[1]}:{HASH}")
    assert await lab.claim(attempt=copy[0], replay=copy[1]) == "yes"
    assert lab.record() == f"P:me:<end>:{copy[1]}:{copy[0]}:{HASH}"
    assert lab.counted() == {}


@pytest.mark.parametrize(("stored", "copy"), ABOVE)
async def test_a_copy_below_a_claim_whose_lease_ran_out_is_stale(
    lab: Lab, stored: tuple[int, int], copy: tuple[int, int]
) -> None:
    lab.store(f"P:other:{LAPSED}:{stored[1]}:{stored[0]}:{HASH}")
    assert await lab.claim(attempt=copy[0], replay=copy[1]) == "stale"
    assert lab.record() == f"P:other:<end>:{stored[1]}:{stored[0]}:{HASH}"
    assert lab.counted() == {}


@pytest.mark.parametrize(("stored", "copy"), NOT_ABOVE)
async def test_a_copy_at_or_above_a_claim_whose_lease_ran_out_takes_it_over(
    lab: Lab, stored: tuple[int, int], copy: tuple[int, int]
) -> None:
    lab.store(f"P:other:{LAPSED}:{stored[1]}:{stored[0]}:{HASH}")
    assert await lab.claim(attempt=copy[0], replay=copy[1]) == "yes"
    assert lab.record() == f"P:me:<end>:{copy[1]}:{copy[0]}:{HASH}"
    assert lab.counted() == {"takeovers": 1}


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
        held = await claims.claim("push", "r", "me", 0, 0, HASH, True)
        assert held.verdict == "held"
        began = time.monotonic()
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
