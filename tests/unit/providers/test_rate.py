"""Tests the learned rate against providers that count in different ways, in simulated time."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable

import pytest

from shared.providers.rate import FORGET_S, LEAST_PER_S, Rate

#: from the time of a call to whether it is accepted
Limit = Callable[[float], bool]


def bucket(per_s: float, burst: float) -> Limit:
    """Limits by a token bucket."""
    state = [burst, 0.0]

    def accepts(at: float) -> bool:
        state[0] = min(burst, state[0] + (at - state[1]) * per_s)
        state[1] = at
        if state[0] < 1:
            return False
        state[0] -= 1
        return True

    return accepts


def fixed_window(per_s: int) -> Limit:
    """Limits by whole seconds, which do not begin when ours do."""
    counts: dict[int, int] = {}

    def accepts(at: float) -> bool:
        second = math.floor(at + 0.37)
        if counts.get(second, 0) >= per_s:
            return False
        counts[second] = counts.get(second, 0) + 1
        return True

    return accepts


def sliding_window(per_s: int) -> Limit:
    """Limits within any second."""
    passed: deque[float] = deque()

    def accepts(at: float) -> bool:
        while passed and passed[0] <= at - 1:
            passed.popleft()
        if len(passed) >= per_s:
            return False
        passed.append(at)
        return True

    return accepts


def send(rate: Rate, calls: int, limit: Limit, at: float = 1_000.0, connections: int = 10) -> tuple[float, int]:
    """Sends ``calls`` as the product does; returns how long it took, in seconds, and how many calls were refused."""
    began_at, refused, left = at, 0, calls
    free = [at] * connections
    while left:
        at = max(at, heapq.heappop(free))
        began, at_end = at, at + 0.005
        if limit(began):
            rate.passed(at_end)
            left -= 1
        else:
            refused += 1
            rate.refused(began, at_end)
        heapq.heappush(free, at_end)
        per_s = rate.per_s(at_end)
        at += 0.0 if per_s == math.inf else 1 / per_s
    return at - began_at, refused


@pytest.mark.parametrize(
    "limit",
    [bucket(14, 14), bucket(14, 1), fixed_window(14), sliding_window(14)],
    ids=["bucket", "bucket without burst", "fixed window", "sliding window"],
)
def test_a_hundred_mails_at_fourteen_per_second_take_about_eight_seconds(limit: Limit) -> None:
    took_s, refused = send(Rate(), 100, limit)
    assert took_s < 9.5
    assert refused < 40


@pytest.mark.parametrize("per_s", [1, 5, 14, 100, 1000])
def test_it_keeps_close_to_the_limit_and_asks_too_fast_seldom(per_s: int) -> None:
    took_s, refused = send(Rate(), per_s * 60, bucket(per_s, per_s))
    assert took_s < 60 * 1.3
    assert refused < per_s * 2 + 40


def test_without_a_refusal_there_is_no_limit_and_after_a_while_there_is_none_again() -> None:
    rate = Rate()
    rate.passed(1_000.0)
    assert rate.per_s(1_000.0) == math.inf
    assert rate.refused(1_000.0, 1_000.1)
    assert rate.per_s(1_000.1) < math.inf
    assert rate.per_s(1_000.2 + FORGET_S) == math.inf


def test_a_provider_that_refuses_everything_is_asked_ever_more_slowly_but_never_given_up() -> None:
    rate = Rate()
    took_s, refused = send(rate, 1, lambda at: at > 1_060.0)
    assert took_s > 60
    assert refused < 80
    assert rate.per_s(1_060.0) >= LEAST_PER_S


def test_after_a_pause_in_which_nothing_passed_it_finds_a_high_limit_soon() -> None:
    rate = Rate()
    for at in (1_000.0, 1_003.0):
        assert rate.refused(at, at)
    took_s, _ = send(rate, 500, lambda _: True, at=1_006.0)
    assert took_s < 10


def test_calls_of_the_earlier_rate_do_not_lower_it_again() -> None:
    rate = Rate()
    for _ in range(50):
        rate.passed(1_000.0)
    assert rate.refused(1_000.0, 1_000.1)
    limit = rate.per_s(1_000.1)
    assert not any(rate.refused(1_000.0 + n / 100, 1_000.2) for n in range(50))
    assert rate.per_s(1_000.1) == limit
