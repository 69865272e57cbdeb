"""The AMQP headers that travel with an envelope's unchanging body.

Always built anew from these fields: a copied ``x-death`` makes RabbitMQ drop or wedge the message, and a copied
``expiration`` cuts its waits short. Anything unreadable in a header reads as its default: whoever publishes straight to
a queue owes us none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: longest error text that travels, bytes: a 140 kB one closed the connection
ERROR_BYTES = 1024
#: longest text that may be a time
_TIME_CHARS = 64
#: largest count that is believed: one more must fit into an AMQP long, and Redis' Lua counts exactly up to here only
_MOST = 2**53 - 1


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """Where a message is in its life. Times are RFC 3339 strings, '' if unknown."""

    accepted_at: str = ""
    attempt: int = 0
    deferrals: int = 0
    replay: int = 0
    first_attempt_at: str = ""
    last_error: str = ""
    #: an operator sent it again although its ``expires_at`` has passed
    ignore_expiry: bool = False
    #: times it was given out and never settled, before it last went to the ladder unclaimed
    redeliveries: int = 0

    def to_headers(self) -> dict[str, Any]:
        headers: dict[str, Any] = {
            "notify-accepted-at": self.accepted_at,
            "notify-attempt": self.attempt,
            "notify-deferrals": self.deferrals,
            "notify-replay": self.replay,
        }
        if self.first_attempt_at:
            headers["notify-first-attempt-at"] = self.first_attempt_at
        if self.last_error:
            headers["notify-last-error"] = cut(self.last_error)
        if self.ignore_expiry:
            headers["notify-ignore-expiry"] = True
        if self.redeliveries:
            headers["notify-redeliveries"] = self.redeliveries
        return headers


def read_state(headers: Mapping[str, Any] | None) -> DeliveryState:
    """Read what travelled; unknown, missing or ill-typed headers read as their defaults."""
    if not headers:
        return DeliveryState()
    return DeliveryState(
        accepted_at=_time(headers.get("notify-accepted-at")),
        attempt=_count(headers.get("notify-attempt")),
        deferrals=_count(headers.get("notify-deferrals")),
        replay=_count(headers.get("notify-replay")),
        first_attempt_at=_time(headers.get("notify-first-attempt-at")),
        last_error=_text(headers.get("notify-last-error")),
        ignore_expiry=headers.get("notify-ignore-expiry") is True,
        redeliveries=_count(headers.get("notify-redeliveries")),
    )


def cut(text: str, most_bytes: int = ERROR_BYTES) -> str:
    """``text`` without what goes beyond ``most_bytes`` of UTF-8; what has no UTF-8 (a lone surrogate) becomes ``?``."""
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


def _count(value: Any) -> int:
    # RabbitMQ hands integers over as long or short; a bool is an int to Python but not a count.
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(value: Any) -> str:
    # It travels on as it is, so it must not be long: the frame with all headers has an upper limit.
    return value if isinstance(value, str) and len(value) <= _TIME_CHARS else ""
