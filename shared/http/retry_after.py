"""Reads the header ``Retry-After``; no other module does."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,6})?")


def parse_retry_after(value: str | None, now_s: Callable[[], float]) -> float | None:
    """Returns the seconds to wait, at least 0, from a number of seconds or an HTTP date; None if missing or invalid.

    ``now_s`` returns the seconds since the epoch. The result is the vendor's own value; the callers limit it.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(0.0, at_s - now_s())
