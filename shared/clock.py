"""Wall-clock times as they travel: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def rfc3339(at_ms: int) -> str:
    """``2026-11-20T08:00:00.123Z``."""
    seconds, ms = divmod(at_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{ms:03d}Z"


def parse_rfc3339(text: str) -> int | None:
    """Milliseconds since the epoch, or None if ``text`` is not a time with an offset."""
    try:
        at = datetime.fromisoformat(text)
        # The first and the last day of the calendar have no UTC time in every offset.
        return None if at.tzinfo is None else round(at.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
