"""Calculates when to try again. It only calculates: the broker does the waiting.

    delay = max(1 s, U(0, min(cap, base * 2^n)))      full jitter; n is the number of attempts, or of deferrals
    A provider's Retry-After is a lower bound; it is itself limited to between 1 s and an hour.
    The delay is rounded up to a level of the ladder.

The end of the message's life takes precedence; the caller checks it.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Longest wait that a provider's Retry-After can demand, seconds; a longer one counts as this.
RETRY_AFTER_MAX_S = 3_600.0

# 2.0 ** 1024 raises OverflowError, and n comes from a header with any value.
_MOST_DOUBLINGS = 1_000


def delay_s(n: int, *, base_s: float, cap_s: float, min_s: float, draw: float, least_s: float | None = None) -> float:
    """Returns the seconds to wait after ``n`` attempts or deferrals.

    ``draw`` is from [0, 1); ``least_s`` is a lower bound such as a Retry-After, seconds.
    """
    doubled_s = base_s * 2.0 ** min(max(n, 0), _MOST_DOUBLINGS)
    wait_s = max(min_s, draw * min(cap_s, doubled_s))
    return wait_s if least_s is None else max(wait_s, clamp_retry_after(least_s, min_s))


def clamp_retry_after(retry_after_s: float, min_s: float) -> float:
    """Returns a provider's Retry-After limited to at least ``min_s`` and at most an hour; NaN gives ``min_s``."""
    return max(min_s, min(retry_after_s, RETRY_AFTER_MAX_S))


def level_for(delay_s: float, levels_s: Sequence[float]) -> float:
    """Returns the lowest level that is not below ``delay_s``, or the last level if all are below."""
    return next((level for level in levels_s if level >= delay_s), levels_s[-1])
