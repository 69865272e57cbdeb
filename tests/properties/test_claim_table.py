"""Every record that can be stored meets every request that can be made: Redis does what the table says.

The scripts remember nothing but the record, so all these single steps together cover every order of any length.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from shared.idempotency.claims import END, ClaimAnswer, Claims, Forwarded
from shared.metrics import Metrics
from shared.redis.client import sync_client
from tests.models import claim_table
from tests.models.claim_table import Done, Passed, Record, Row, Step, Working
from tests.properties.claim_records import record_of, text_of
from tests.support.claims import HASH, LEASE_S, OTHER_HASH, TTL_S

#: the time of a replay, in ms since the epoch, which is its number
NOW = 1_763_000_000_000
#: One token begins with the other, and 10 is above 9 as a number but not as a text.
TOKENS, REPLAYS, ATTEMPTS, BODIES = ("a", "a2"), (0, NOW, NOW + 1), (0, 1, 9, 10), (HASH, OTHER_HASH)
FLOORS: tuple[Forwarded, ...] = (*ATTEMPTS, END)
#: provider and its id for the message -> the outcome that is stored
OUTCOMES = {("", ""): "skipped", ("fcm", "projects/p:1/messages/2"): "fcm:projects/p:1/messages/2"}
COUNTERS = ("takeovers", "state_lost", "lease_lost")


@dataclass(frozen=True)
class Case:
    """Calls ``asked`` of the claims, with these arguments after channel and request_id, while ``stored`` is stored."""

    stored: Record
    asked: str
    arguments: tuple[Any, ...]
    expected: Step

    async def run(self, claims: Claims, request_id: str) -> str | None:
        """Makes the call. Returns the verdict if it was a claim."""
        answer = await getattr(claims, self.asked)("push", request_id, *self.arguments)
        return answer.verdict if isinstance(answer, ClaimAnswer) else None


def records() -> Iterator[Record]:
    yield None
    for replay, body in itertools.product(REPLAYS, BODIES):
        for token, attempt, lapsed in itertools.product(TOKENS, ATTEMPTS, (False, True)):
            yield Working(token, replay, attempt, body, lapsed)
        for n in FLOORS:
            yield Passed(n, replay, body)
    for body, outcome in itertools.product(BODIES, (*OUTCOMES.values(), "fcm:")):
        yield Done(body, outcome)


def cases() -> Iterator[Case]:
    for stored in records():
        yield from _claims(stored)
        yield from _outcomes(stored)


def _claims(stored: Record) -> Iterator[Case]:
    for asked in itertools.product("a", REPLAYS, ATTEMPTS, BODIES, (False, True)):
        yield Case(stored, "claim", asked, claim_table.claim(stored, *asked))


def _outcomes(stored: Record) -> Iterator[Case]:
    for body, (named, outcome) in itertools.product(BODIES, OUTCOMES.items()):
        yield Case(stored, "done", ("a", body, *named), claim_table.done(stored, "a", body, outcome))
    for replay, n in itertools.product(REPLAYS, FLOORS):
        yield Case(stored, "forwarded", ("a", replay, n), claim_table.forwarded(stored, "a", replay, n))
    yield Case(stored, "release", ("a",), claim_table.release(stored, "a"))


CASES = list(cases())


def by_row() -> dict[Row, list[Case]]:
    rows: dict[Row, list[Case]] = defaultdict(list)
    for case in CASES:
        rows[case.expected.row].append(case)
    return rows


def test_the_cases_go_through_every_row_of_the_table() -> None:
    assert set(by_row()) == set(Row)


async def test_every_record_met_by_everything_does_what_its_row_says(redis_url: str) -> None:
    with sync_client(redis_url) as store:
        for row, of_row in by_row().items():
            await _row(redis_url, store, row, of_row)


async def _row(redis_url: str, store: redis.Redis, row: Row, of_row: list[Case]) -> None:
    """Runs all cases of one row at once, each on a message of its own."""
    store.flushdb()
    ids = [f"{row.name}:{number}" for number in range(len(of_row))]
    keys = [f"notify:push:{request_id}" for request_id in ids]
    texts = [text_of(case.stored) for case in of_row]
    present = {key: text for key, text in zip(keys, texts, strict=True) if text is not None}
    if present:
        store.mset(present)
    metrics = Metrics()
    # Many calls share one connection: a slow machine must not fail the test through the client's own deadline.
    async with Claims(redis_url, lease_s=LEASE_S, ttl_s=TTL_S, metrics=metrics, timeout_s=20) as claims:
        asked_ms = _now_ms(store)
        verdicts = await asyncio.gather(*(case.run(claims, one) for case, one in zip(of_row, ids, strict=True)))
        now_ms = _now_ms(store)
    found = [None if value is None else value.decode() for value in store.mget(keys)]  # type: ignore[union-attr]
    for case, before, verdict, after in zip(of_row, texts, verdicts, found, strict=True):
        assert verdict == case.expected.verdict, case
        assert record_of(after, now_ms) == case.expected.record, case
        if case.expected.record == case.stored and row not in (Row.CLAIM_RENEWED, Row.DONE_AGAIN):
            assert after == before, f"touched: {case}"
        if case.expected.verdict == "yes":
            _lease_began_between(after, asked_ms, now_ms)
    _counted(metrics, of_row)


def _lease_began_between(text: str | None, first_ms: int, last_ms: int) -> None:
    lease_end = int((text or "").split(":")[2])
    assert first_ms <= lease_end - LEASE_S * 1000 <= last_ms


def _counted(metrics: Metrics, of_row: list[Case]) -> None:
    counted = {name: metrics.registry.get_sample_value(f"notify_{name}_total") or 0 for name in COUNTERS}
    expected = {name: sum(case.expected.counted == name for case in of_row) for name in COUNTERS}
    assert counted == expected, of_row[0].expected.row


def _now_ms(store: redis.Redis) -> int:
    seconds, micros = store.time()
    return int(seconds) * 1000 + int(micros) // 1000
