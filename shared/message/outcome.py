"""What can become of a delivery: values, which ``shared/worker/settler`` carries out.

The reasons are closed lists; tests/unit/failed/test_reasons.py compares them with what the code uses.
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
    "recipient_invalid",
    "payload_rejected",
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
#: Why a message is kept in hand and its worker paused.
HoldCause = Literal["provider", "users", "templates", "redis"]


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider said yes. ``provider_id`` is the vendor's name for the message."""

    provider: str
    provider_id: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Not sent, by the recipient's own choice."""

    reason: SkippedReason


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``delay_s`` seconds (rounded up to a ladder level by the topology).

    ``counted``: a call reached the provider, so the attempt number rises; otherwise only the number of deferrals.
    """

    delay_s: float
    reason: RetryReason
    counted: bool
    error: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Dead:
    """Cannot be delivered: to failed.queue."""

    reason: DeadReason
    error: str = ""
    provider: str = ""
    #: a call reached the provider in this attempt
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A copy of a message that is done (``duplicate``) or that a later copy has overtaken (``stale``): only ack it."""

    why: Literal["duplicate", "stale"]


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing can be tried now, and that is not this message's fault: keep it without a claim, pause, probe."""

    cause: HoldCause


#: what the settler carries out
Settled = Sent | Skipped | Retry | Dead | Duplicate
Outcome = Settled | Hold
