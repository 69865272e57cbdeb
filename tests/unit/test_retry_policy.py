"""What follows a failed attempt."""

from __future__ import annotations

from dataclasses import replace

from shared.headers import Travel
from shared.outcome import Dead, Retry
from shared.retry_policy import Failure, RetryPolicy

POLICY = RetryPolicy(base_s=10, cap_s=900, min_s=1, max_attempts=8, life_s=86_400)
DOWN = Failure("provider_unavailable", "503", counted=True, provider="fcm")
FAR = 10**15


def test_an_attempt_that_reached_the_provider_is_counted_and_backs_off() -> None:
    assert POLICY.after(DOWN, Travel(attempt=2), 0, FAR, draw=0.5) == Retry(
        20, "provider_unavailable", True, "503", "fcm"
    )


def test_the_last_attempt_ends_in_attempts_exhausted() -> None:
    assert POLICY.after(DOWN, Travel(attempt=7), 0, FAR, 0.5) == Dead("attempts_exhausted", "503", "fcm", counted=True)


def test_an_uncounted_return_never_exhausts_and_backs_off_by_deferrals() -> None:
    failure = replace(DOWN, counted=False)
    assert POLICY.after(failure, Travel(attempt=7, deferrals=100), 0, FAR, 0.5) == Retry(
        450, "provider_unavailable", False, "503", "fcm"
    )


def test_a_life_that_ends_before_the_next_attempt_ends_now() -> None:
    outcome = POLICY.after(replace(DOWN, least_s=60), Travel(), now_ms=1_000, expires_ms=61_000, draw=0.0)
    assert isinstance(outcome, Dead)
    assert outcome.reason == "expired"


def test_a_life_that_ends_just_after_it_gets_the_attempt() -> None:
    assert isinstance(POLICY.after(replace(DOWN, least_s=60), Travel(), 1_000, 61_001, 0.0), Retry)


def test_who_holds_no_claim_may_not_end_a_life() -> None:
    retry = POLICY.later(Failure("claimed_elsewhere", "", counted=False, least_s=42), Travel(attempt=99), draw=0.0)
    assert retry.delay_s == 42
