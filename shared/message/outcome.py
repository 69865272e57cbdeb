"""Defines the possible outcomes of a delivery as values; ``shared/worker/settler`` carries them out.

The reasons are closed lists; tests/unit/repository/test_readme.py compares them with what the code uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DeadReason = Literal[
    "invalid_json",
    "invalid_envelope",
    "too_large",
    "wrong_channel",
    "request_id_reused",
    "expired",
    "user_not_found",
    "no_recipient",
    "template_not_found",
    "template_error",
    "user_invalid",
    "recipient_invalid",
    "payload_rejected",
    "provider_refused",
    "attempts_exhausted",
    "delivery_limit",
]
SkippedReason = Literal["opted_out"]
RetryReason = Literal[
    "provider_unavailable",
    "throttled",
    "misconfigured",
    "directory_unavailable",
    "templates_unavailable",
    "claimed_elsewhere",
    "unexpected",
]
#: Why a message is held and its worker is paused.
HoldCause = Literal["provider", "users", "templates", "redis"]


@dataclass(frozen=True, slots=True)
class Sent:
    """Says that the provider accepted the message. ``provider_id`` is the vendor's id for it."""

    provider: str
    provider_id: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Says that the message is not sent, by the recipient's own choice."""

    reason: SkippedReason


@dataclass(frozen=True, slots=True)
class Retry:
    """Says that the message is tried again after ``delay_s`` seconds (rounded up to a level of the ladder).

    ``counted``: a call reached the provider, so the number of attempts rises; otherwise the number of deferrals rises.
    """

    delay_s: float
    reason: RetryReason
    counted: bool
    error: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Dead:
    """Says that the message cannot be delivered and goes to failed.queue."""

    reason: DeadReason
    error: str = ""
    provider: str = ""
    #: Whether a call reached the provider in this attempt.
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Says that the copy is only acked: its message is done (``duplicate``), or a later copy exists (``stale``)."""

    why: Literal["duplicate", "stale"]


@dataclass(frozen=True, slots=True)
class Hold:
    """Says that no message can be tried now: the worker holds this one without a claim, pauses, and probes."""

    cause: HoldCause


#: The outcomes that the settler carries out.
Settled = Sent | Skipped | Retry | Dead | Duplicate
Outcome = Settled | Hold
