"""Decides when a breaker opens and for how long. It only calculates: it has no clock and no state."""

from __future__ import annotations

from collections.abc import Callable

from shared.breaker.window import CallWindow
from shared.settings.groups.breaker import BreakerPolicy

# The doubling reaches its upper bound long before this; without this limit a float would overflow.
_MOST_DOUBLINGS = 60


def reason_to_open(policy: BreakerPolicy, failures_in_a_row: int, window: CallWindow) -> str | None:
    """Returns why a closed breaker must open, or None."""
    if failures_in_a_row >= policy.failures:
        return f"{failures_in_a_row} failures in a row"
    calls = window.calls
    if calls < policy.window_calls:
        return None
    if window.failed >= policy.failure_rate * calls:
        return f"{window.failed} of {calls} calls failed within {policy.window_s:g} s"
    if window.slow >= policy.slow_rate * calls:
        return f"{window.slow} of {calls} calls slower than {policy.slow_s:g} s within {policy.window_s:g} s"
    return None


def open_for_s(policy: BreakerPolicy, reopenings: int, uniform: Callable[[], float]) -> float:
    """Returns how long to stay open, in seconds, after ``reopenings`` failed probes since it was last closed."""
    length_s = min(policy.open_max_s, policy.open_s * 2.0 ** min(reopenings, _MOST_DOUBLINGS))
    return length_s * (1 - policy.jitter + 2 * policy.jitter * uniform())
