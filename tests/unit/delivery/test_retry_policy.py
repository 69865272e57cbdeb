"""Tests what follows a failed attempt."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import RETRY_AFTER_MAX_S
from shared.delivery.retry_policy import Failure, after_failure, retry_later
from shared.message.headers import DeliveryState
from shared.message.outcome import Retry, RetryReason
from shared.settings.groups.retry import RetryPolicy

POLICY = RetryPolicy(base_s=10, cap_s=900, min_s=1, max_attempts=8, life_s=86_400)
DOWN = Failure("provider_unavailable", "503", counted=True, provider="fcm")
FAR = 10**15


def test_an_attempt_that_reached_the_provider_is_counted_and_backs_off() -> None:
    assert after_failure(POLICY, DOWN, DeliveryState(attempt=2), 0, FAR, draw=0.5) == Retry(
        20, "provider_unavailable", True, "503", "fcm"
    )


def test_a_deferral_never_exhausts_and_backs_off_by_deferrals() -> None:
    failure = replace(DOWN, counted=False)
    assert after_failure(POLICY, failure, DeliveryState(attempt=7, deferrals=100), 0, FAR, 0.5) == Retry(
        450, "provider_unavailable", False, "503", "fcm"
    )


@pytest.mark.parametrize(("expires_ms", "follows"), [(61_000, "expired"), (61_001, "provider_unavailable")])
def test_an_attempt_is_made_only_within_the_life(expires_ms: int, follows: str) -> None:
    outcome = after_failure(POLICY, replace(DOWN, least_s=60), DeliveryState(), 1_000, expires_ms, draw=0.0)
    assert outcome.reason == follows


def test_a_copy_without_a_claim_may_not_end_a_life() -> None:
    retry = retry_later(
        POLICY, Failure("claimed_elsewhere", "", counted=False, least_s=42), DeliveryState(attempt=99), draw=0.0
    )
    assert retry.delay_s == 42


FAILURES = st.builds(
    Failure,
    reason=st.sampled_from(get_args(RetryReason)),
    error=st.text(max_size=20),
    counted=st.booleans(),
    provider=st.just("fcm"),
    least_s=st.none() | st.floats(),
)
TRAVELS = st.builds(DeliveryState, attempt=st.integers(0, 2**53 - 2), deferrals=st.integers(0, 2**53 - 2)) | st.builds(
    DeliveryState, attempt=st.integers(0, 8), deferrals=st.integers(0, 8)
)


@given(FAILURES, TRAVELS, st.integers(-(10**6), 10**8), st.floats(0, 1, exclude_max=True))
def test_every_failure_is_followed_by_an_attempt_within_the_life_or_by_an_end(
    failure: Failure, state: DeliveryState, left_ms: int, draw: float
) -> None:
    now_ms = 1_767_225_600_000
    outcome = after_failure(POLICY, failure, state, now_ms, now_ms + left_ms, draw)
    used_up = failure.counted and state.attempt + 1 >= POLICY.max_attempts
    if isinstance(outcome, Retry):
        assert not used_up
        assert POLICY.min_s <= outcome.delay_s <= max(POLICY.cap_s, RETRY_AFTER_MAX_S)
        assert outcome.delay_s * 1000 < left_ms, "its life would be over when it comes back"
        assert (outcome.reason, outcome.counted) == (failure.reason, failure.counted)
    else:
        assert outcome.reason == ("attempts_exhausted" if used_up else "expired")


@given(FAILURES, TRAVELS, st.floats(0, 1, exclude_max=True))
def test_a_copy_without_a_claim_always_gets_another_try(failure: Failure, state: DeliveryState, draw: float) -> None:
    retry = retry_later(POLICY, failure, state, draw)
    assert POLICY.min_s <= retry.delay_s <= max(POLICY.cap_s, RETRY_AFTER_MAX_S)
