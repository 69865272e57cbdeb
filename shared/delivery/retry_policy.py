"""Decides what follows a failed attempt: a later one, or the end. It is pure: time and random draw are passed in."""

from __future__ import annotations

from dataclasses import dataclass

from shared.backoff import delay_s
from shared.message.headers import DeliveryState
from shared.message.outcome import Dead, Retry, RetryReason
from shared.settings.groups.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class Failure:
    """Describes a failed attempt that may be repeated.

    ``counted``: a call reached the provider. ``least_s``: shortest wait, seconds (a Retry-After, or a lease's rest).
    """

    reason: RetryReason
    error: str
    counted: bool
    provider: str = ""
    least_s: float | None = None


def after_failure(
    policy: RetryPolicy, failure: Failure, state: DeliveryState, now_ms: int, expires_ms: int, draw: float
) -> Retry | Dead:
    """Returns Retry, or Dead if the attempts are used up or the message's life ends before the next one.

    Times are Unix milliseconds; ``draw`` is in [0, 1).
    """
    if failure.counted and state.attempt + 1 >= policy.max_attempts:
        return Dead("attempts_exhausted", failure.error, failure.provider, counted=True)
    retry = retry_later(policy, failure, state, draw)
    if now_ms + retry.delay_s * 1000 >= expires_ms:
        error = f"the life of the message ends before the next attempt; {failure.error}"
        return Dead("expired", error, failure.provider, counted=failure.counted)
    return retry


def retry_later(policy: RetryPolicy, failure: Failure, state: DeliveryState, draw: float) -> Retry:
    """Returns Retry without checking attempts and life: a copy that holds no claim must not end a life."""
    n = state.attempt if failure.counted else state.deferrals
    wait_s = delay_s(
        n, base_s=policy.base_s, cap_s=policy.cap_s, min_s=policy.min_s, least_s=failure.least_s, draw=draw
    )
    return Retry(wait_s, failure.reason, failure.counted, failure.error, failure.provider)
