import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import RETRY_AFTER_MAX_S, clamp_retry_after, delay_s, level_for

LADDER = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0)
ALMOST_ONE = math.nextafter(1.0, 0.0)


def wait_s(n: int, draw: float, least_s: float | None = None) -> float:
    return delay_s(n, base_s=10, cap_s=900, min_s=1, draw=draw, least_s=least_s)


@pytest.mark.parametrize(("n", "most_s"), [(0, 10), (1, 20), (2, 40), (6, 640), (7, 900), (8, 900)])
def test_the_bound_doubles_up_to_the_cap(n: int, most_s: float) -> None:
    assert wait_s(n, ALMOST_ONE) == pytest.approx(most_s)
    assert wait_s(n, 0.5) == pytest.approx(most_s / 2)


def test_never_less_than_a_second() -> None:
    assert wait_s(0, 0.0) == 1


@pytest.mark.parametrize("n", [1_023, 1_024, 10**6, 2**63 - 1])
def test_a_huge_n_overflows_nothing(n: int) -> None:
    assert wait_s(n, ALMOST_ONE) == pytest.approx(900)


def test_a_negative_n_is_the_first() -> None:
    assert wait_s(-3, ALMOST_ONE) == pytest.approx(10)


@pytest.mark.parametrize(
    ("named_s", "least_s"),
    [(3, 3), (0.2, 1), (-1, 1), (86_400, 3_600), (math.inf, 3_600), (math.nan, 1), (-math.inf, 1)],
)
def test_retry_after_is_a_lower_bound_between_a_second_and_an_hour(named_s: float, least_s: float) -> None:
    assert wait_s(0, 0.0, named_s) == least_s


def test_retry_after_shortens_nothing() -> None:
    assert wait_s(5, 0.9, 3) == pytest.approx(288)


@given(
    n=st.integers(),
    base_s=st.floats(1e-3, 1e6),
    cap_s=st.floats(1e-3, 1e6),
    draw=st.floats(0, 1, exclude_max=True),
    least_s=st.none() | st.floats(),
)
def test_always_a_finite_wait_within_the_bounds(
    n: int, base_s: float, cap_s: float, draw: float, least_s: float | None
) -> None:
    wait = delay_s(n, base_s=base_s, cap_s=cap_s, min_s=1, draw=draw, least_s=least_s)
    assert 1 <= wait <= max(1, cap_s, 0 if least_s is None else RETRY_AFTER_MAX_S)
    if least_s is not None:
        assert wait >= clamp_retry_after(least_s, 1), "a provider must not be asked before the time that it named"


@given(n=st.integers(0, 2_000), draw=st.floats(0, 1, exclude_max=True))
def test_the_same_draw_never_waits_less_the_more_often_it_failed(n: int, draw: float) -> None:
    assert wait_s(n, draw) <= wait_s(n + 1, draw)


@given(st.floats())
def test_any_retry_after_is_a_wait_between_a_second_and_an_hour(named_s: float) -> None:
    clamped = clamp_retry_after(named_s, 1)
    assert 1 <= clamped <= RETRY_AFTER_MAX_S
    if 1 <= named_s <= RETRY_AFTER_MAX_S:
        assert clamped == named_s


@pytest.mark.parametrize(
    ("delay", "level"),
    [(0, 1), (1, 1), (1.001, 5), (5, 5), (14, 15), (16, 60), (899, 900), (901, 3_600), (3_600, 3_600), (9_999, 3_600)],
)
def test_rounded_up_to_a_level_and_above_the_last_to_the_last(delay: float, level: float) -> None:
    assert level_for(delay, LADDER) == level


@given(st.floats(0, 1e6), st.lists(st.floats(0.01, 1e5), min_size=1, max_size=8, unique=True).map(sorted))
def test_a_level_is_the_lowest_that_is_not_too_short(delay: float, ladder: list[float]) -> None:
    level = level_for(delay, ladder)
    assert level in ladder
    assert level >= delay or level == ladder[-1]
    assert not any(delay <= other < level for other in ladder), "the wait must not be longer than needed"
