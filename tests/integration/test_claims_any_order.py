"""Any order of claims, hand-ons, releases, dones, lapses and losses: Redis does what the plain table says."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.idempotency import END
from tests.integration.claims import HASH, LAPSED, OTHER_HASH, Lab, lab_on

TOKENS = ("a", "b", "c")
_ids = itertools.count()

claims = st.tuples(
    st.just("claim"),
    st.sampled_from(TOKENS),
    st.integers(0, 1),
    st.integers(0, 2),
    st.sampled_from((HASH, HASH, HASH, OTHER_HASH)),
)
records = st.one_of(
    st.tuples(st.just("handed_on"), st.sampled_from(TOKENS), st.integers(0, 2) | st.just(END)),
    st.tuples(st.sampled_from(("done", "release")), st.sampled_from(TOKENS)),
)
events = st.sampled_from((("lapse",), ("lapse",), ("lose",)))
orders = st.lists(st.one_of(claims, claims, records, events), min_size=1, max_size=14)


@dataclass
class Table:
    """The transition table, in the words of the design: ``kind`` '' is nothing stored."""

    kind: str = ""
    token: str = ""
    running: bool = False
    replay: int = 0
    attempt: float = 0
    body: str = ""

    def claim(self, token: str, replay: int, attempt: int, body: str) -> str:
        if self.kind and self.body != body:
            return "reused"
        if self.kind == "D":
            return "duplicate"
        if self.kind == "P" and self.token != token and self.running:
            return "held"
        ours = self.kind == "P" and self.token == token
        if self.kind and not ours and (replay, attempt) < (self.replay, self.attempt):
            return "stale"
        self.__init__("P", token, True, replay, attempt, body)  # type: ignore[misc]
        return "yes"

    def ours(self, token: str) -> bool:
        return self.kind == "P" and self.token == token

    def floor(self, attempt: float) -> None:
        self.kind, self.token, self.attempt = "F", "", attempt

    def holder(self) -> str | None:
        return self.token if self.kind == "P" and self.running else None


async def step(lab: Lab, table: Table, order: tuple[Any, ...]) -> None:
    """The same in Redis and in the table."""
    name, channel, request_id = order[0], "push", lab.request_id
    match order:
        case ("claim", token, replay, attempt, body):
            assert await lab.claim(token, replay, attempt, body) == table.claim(token, replay, attempt, body), order
        case ("done", token):
            await lab.claims.done(channel, request_id, token, HASH, "fcm", token)
            table.kind, table.body = "D", HASH
        case ("handed_on", token, n):
            # A handler hands on in the replay that it claimed.
            await lab.claims.handed_on(channel, request_id, token, table.replay, n)
            if table.ours(token):
                table.floor(float("inf") if n == END else n)
        case ("release", token):
            await lab.claims.release(channel, request_id, token)
            if table.ours(token):
                table.floor(table.attempt)
        case ("lapse",) if table.kind == "P":
            fields = lab.redis.get(lab.key).decode().split(":")  # type: ignore[union-attr]
            fields[2] = str(LAPSED)
            lab.redis.set(lab.key, ":".join(fields), keepttl=True)
            table.running = False
        case ("lose",):
            lab.redis.delete(lab.key)
            table.kind, table.token, table.running = "", "", False
    assert stored(lab) == expected(table), name


def stored(lab: Lab) -> str | None:
    record = lab.record()
    return record if record is None or record[0] != "D" else ":".join(record.split(":")[:2])


def expected(table: Table) -> str | None:
    n = "end" if table.attempt == float("inf") else int(table.attempt)
    return {
        "": None,
        "P": f"P:{table.token}:<end>:{table.replay}:{n}:{table.body}",
        "F": f"F:{n}:{table.replay}:{table.body}",
        "D": f"D:{table.body}",
    }[table.kind]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=orders)
def test_redis_does_what_the_table_says(redis_url: str, order: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        async with lab_on(redis_url, f"any-order-{next(_ids)}") as lab:
            table = Table()
            for one in order:
                await step(lab, table, one)

    asyncio.run(run())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.lists(
        st.one_of(
            st.tuples(st.just("claim"), st.sampled_from(TOKENS), st.integers(0, 1), st.integers(0, 2)),
            st.tuples(st.sampled_from(("handed_on", "release")), st.sampled_from(TOKENS)),
        ),
        min_size=2,
        max_size=24,
    )
)
def test_two_tokens_never_both_hold_the_claim(redis_url: str, order: list[tuple[Any, ...]]) -> None:
    """All at once, over two connections; whoever got a yes holds it until he gives it up himself."""

    async def run() -> None:
        request_id = f"held-{next(_ids)}"
        async with lab_on(redis_url, request_id) as first, lab_on(redis_url, request_id) as second:
            held_by: set[str] = set()

            async def one(lab: Lab, name: str, token: str, replay: int = 0, attempt: int = 0) -> None:
                if name == "claim":
                    if await lab.claim(token, replay, attempt) == "yes":
                        held_by.add(token)
                        assert held_by == {token}, order
                elif token in held_by:
                    # Given up before the command is sent: from then on another may have it.
                    held_by.discard(token)
                    await (
                        lab.claims.release("push", request_id, token)
                        if name == "release"
                        else lab.claims.handed_on("push", request_id, token, 0, 0)
                    )

            # One handler a token, each doing one thing after the other, all of them at the same time.
            async def handler(number: int, token: str) -> None:
                for name, whose, *numbers in order:
                    if whose == token:
                        await one((first, second)[number % 2], name, token, *numbers)

            await asyncio.gather(*(handler(number, token) for number, token in enumerate(TOKENS)))

    asyncio.run(run())
