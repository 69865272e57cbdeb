"""Reads the wall clock, and converts times to and from their form in messages: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache


def now_ms() -> int:
    """Returns the current time, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def rfc3339(at_ms: int) -> str:
    """Returns the time in the form ``2026-11-20T08:00:00.123Z``."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{_to_the_second(seconds)}.{ms:03d}Z"


def rfc3339_us(at_us: int) -> str:
    """Returns a time in microseconds since the epoch in the form ``2026-11-20T08:00:00.123456Z``."""
    seconds, us = divmod(at_us, 1_000_000)
    return f"{_to_the_second(seconds)}.{us:06d}Z"


@lru_cache(maxsize=16)
def _to_the_second(seconds: int) -> str:
    # Most times are of the present second, and every message and log line has one.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def parse_rfc3339(text: str) -> int | None:
    """Returns milliseconds since the epoch, or None if ``text`` is not a time with an offset."""
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            return None
        # On the first and the last day of the calendar, some offsets have no UTC time: that raises OverflowError.
        in_utc = at if at.tzinfo is UTC else at.astimezone(UTC)
        return round(in_utc.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
