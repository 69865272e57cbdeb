"""Tests the clock that tells Redis' time between its answers."""

from __future__ import annotations

from shared.clock import now_ms
from shared.idempotency.redis_clock import RedisClock


def test_until_the_first_answer_it_is_this_machines_time() -> None:
    before = now_ms()
    assert before <= RedisClock().now_ms() <= now_ms()


def test_it_runs_on_from_the_last_request() -> None:
    at = [100.0]
    clock = RedisClock(lambda: at[0])
    clock.heard(1_800_000_000_000, 99.5)
    assert clock.now_ms() == 1_800_000_000_500
    at[0] = 160.0
    assert clock.now_ms() == 1_800_000_060_500
    clock.heard(1_700_000_000_000, 160.0)
    assert clock.now_ms() == 1_700_000_000_000
