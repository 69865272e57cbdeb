"""Checks that of several handlers at once never two hold the claim. ``tests/properties`` checks each answer."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.claims import Lab, lab_on
from tests.support.run.examples import examples

TOKENS = ("a", "b", "c")
_ids = itertools.count()


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.lists(
        st.one_of(
            st.tuples(st.just("claim"), st.sampled_from(TOKENS), st.integers(0, 1), st.integers(0, 2)),
            st.tuples(st.sampled_from(("forwarded", "release")), st.sampled_from(TOKENS)),
        ),
        min_size=2,
        max_size=24,
    )
)
def test_two_tokens_never_both_hold_the_claim(redis_url: str, order: list[tuple[Any, ...]]) -> None:
    """Runs all handlers at once, over two connections; a handler with a yes holds the claim until it ends it itself."""

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
                    # Mark it as ended before the command is sent: from then on another handler may have it.
                    held_by.discard(token)
                    await (
                        lab.claims.release("push", request_id, token)
                        if name == "release"
                        else lab.claims.forwarded("push", request_id, token, 0, 0)
                    )

            # One handler per token: each takes its steps in order, and all handlers run at the same time.
            async def handler(number: int, token: str) -> None:
                for name, whose, *numbers in order:
                    if whose == token:
                        await one((first, second)[number % 2], name, token, *numbers)

            await asyncio.gather(*(handler(number, token) for number, token in enumerate(TOKENS)))

    asyncio.run(run())
