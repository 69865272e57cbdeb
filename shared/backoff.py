"""When to try again: arithmetic. The broker waits, not we.

    delay = max(1 s, U(0, min(cap, base * 2^n)))      full jitter; n attempts, or n uncounted returns
    a provider's Retry-After is a lower bound, itself kept between 1 s and an hour
    the delay is rounded up to a level of the ladder

The message's life wins over all of it; that is the caller's to check.
"""

from __future__ import annotations

from collections.abc import Sequence

#: a provider that names a longer wait is asked again after this one, seconds
RETRY_AFTER_MAX_S = 3_600.0

# 2.0 ** 1024 is an OverflowError, and n is whatever a header says.
_MOST_DOUBLINGS = 1_000


def delay_s(n: int, *, base_s: float, cap_s: float, min_s: float, draw: float, least_s: float | None = None) -> float:
    """Seconds to wait after ``n`` attempts or returns. ``draw`` is from [0, 1); ``least_s`` is a Retry-After."""
    doubled_s = base_s * 2.0 ** min(max(n, 0), _MOST_DOUBLINGS)
    wait_s = max(min_s, draw * min(cap_s, doubled_s))
    return wait_s if least_s is None else max(wait_s, clamp_retry_after(least_s, min_s))


def clamp_retry_after(retry_after_s: float, min_s: float) -> float:
    """A provider's Retry-After as a wait of ours: at least ``min_s``, at most an hour; NaN reads as ``min_s``."""
    return max(min_s, min(retry_after_s, RETRY_AFTER_MAX_S))


def level_for(delay_s: float, levels_s: Sequence[float]) -> float:
    """The lowest level that is not below ``delay_s``; above the last, the last."""
    return next((level for level in levels_s if level >= delay_s), levels_s[-1])
