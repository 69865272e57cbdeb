"""Tests that calls wait for their turn at the learned rate: urgent ones first, nobody for ever."""

from __future__ import annotations

import asyncio
import time

import pytest

from shared.providers.pace import Pace
from tests.support.waiting import eventually_async


def limited(per_s: float = 50.0) -> Pace:
    """Returns a pace that has just learned that about this many calls per second pass."""
    pace, now = Pace(lambda: True), time.monotonic()
    for _ in range(int(per_s)):
        pace.passed(now)
    assert pace.refused(now, now)
    assert pace.limit_per_s() == pytest.approx(per_s, rel=0.1)
    return pace


async def test_without_a_limit_nobody_waits() -> None:
    pace = Pace(lambda: True)
    assert not any([await pace.turn("low") for _ in range(1_000)])
    assert (pace.limit_per_s(), pace.wait_s) == (0, 0)


async def test_turns_are_given_at_the_rate_and_the_urgent_ones_first() -> None:
    pace, order = limited(), list[str]()

    async def call(priority: str) -> None:
        await pace.turn(priority)
        order.append(priority)

    assert not await pace.turn("low")
    began = time.monotonic()
    await asyncio.gather(*(call(priority) for priority in ["low", "medium", "high"] * 5))
    assert order == ["high"] * 5 + ["medium"] * 5 + ["low"] * 5
    assert time.monotonic() - began > 0.15


async def test_a_waiting_call_that_is_cancelled_takes_no_turn_of_another() -> None:
    pace = limited(20.0)
    await pace.turn("high")
    gone, stays = (asyncio.create_task(pace.turn("high")) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(5):
        assert await stays


async def test_while_the_provider_may_not_be_called_nobody_waits_for_a_turn() -> None:
    open_for_calls = True
    pace = Pace(lambda: open_for_calls)
    now = time.monotonic()
    pace.refused(now, now)
    await pace.turn("high")
    waiting = [asyncio.create_task(pace.turn("high")) for _ in range(1_000)]
    await eventually_async(lambda: pace.wait_s > 10)
    open_for_calls = False
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    open_for_calls = True
    assert pace.wait_s == 0


async def test_only_a_much_lower_limit_is_news() -> None:
    pace = limited()
    now = time.monotonic()
    assert not pace.refused(now, now)
    for _ in range(45):
        pace.passed(now + 2)
    assert not pace.refused(now + 2, now + 2)
    assert pace.refused(now + 4, now + 4)
