"""Reads the wall clock, and converts times to and from their form in messages: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Returns the current time, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def rfc3339(at_ms: int) -> str:
    """Returns the time in the form ``2026-11-20T08:00:00.123Z``."""
    seconds, ms = divmod(at_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{ms:03d}Z"


def parse_rfc3339(text: str) -> int | None:
    """Returns milliseconds since the epoch, or None if ``text`` is not a time with an offset."""
    try:
        at = datetime.fromisoformat(text)
        # On the first and the last day of the calendar, some offsets have no UTC time: that raises OverflowError.
        return None if at.tzinfo is None else round(at.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
