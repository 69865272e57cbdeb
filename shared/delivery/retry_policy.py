"""What follows a failed attempt: another one later, or the end. Pure: the time and the draw are passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from shared.backoff import delay_s
from shared.message.headers import Travel
from shared.message.outcome import Dead, Retry, RetryReason
from shared.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that may be repeated. ``counted``: a call reached the provider. ``least_s``: its Retry-After."""

    reason: RetryReason
    error: str
    counted: bool
    provider: str = ""
    least_s: float | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Backoff and ends of one channel. Times are seconds."""

    base_s: float
    cap_s: float
    min_s: float
    max_attempts: int
    life_s: float

    @classmethod
    def for_channel(cls, channel: str, settings: Settings) -> Self:
        own = settings.channels[channel]
        return cls(settings.retry_base_s, own.retry_cap_s, settings.retry_min_s, own.max_attempts, own.expires_s)

    def after(self, failure: Failure, travel: Travel, now_ms: int, expires_ms: int, draw: float) -> Retry | Dead:
        """Retry, or Dead if the attempts are used up or the message's life ends before the next; ``draw`` in [0, 1)."""
        if failure.counted and travel.attempt + 1 >= self.max_attempts:
            return Dead("attempts_exhausted", failure.error, failure.provider, counted=True)
        retry = self.later(failure, travel, draw)
        if now_ms + retry.delay_s * 1000 >= expires_ms:
            error = f"its life ends before the next attempt; {failure.error}"
            return Dead("expired", error, failure.provider, counted=failure.counted)
        return retry

    def later(self, failure: Failure, travel: Travel, draw: float) -> Retry:
        """Retry without asking whether it is worth while: who holds no claim may not end a life."""
        n = travel.attempt if failure.counted else travel.deferrals
        wait_s = delay_s(n, base_s=self.base_s, cap_s=self.cap_s, min_s=self.min_s, least_s=failure.least_s, draw=draw)
        return Retry(wait_s, failure.reason, failure.counted, failure.error, failure.provider)
