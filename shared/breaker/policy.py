"""When a breaker opens and for how long: arithmetic, without a clock or a state of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.breaker.window import CallWindow
from shared.settings.settings import Settings

# Beyond this the doubling has long met its bound; without it a float would overflow.
_MOST_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """The numbers of one breaker; times in seconds."""

    #: failures in a row that open it
    failures: int = 5
    #: or, among at least ``window_calls`` calls within ``window_s``, this share failed or was slower than ``slow_s``
    window_s: float = 30
    window_calls: int = 20
    failure_rate: float = 0.5
    slow_rate: float = 0.8
    slow_s: float = 5
    #: first stay in open; doubles up to ``open_max_s`` while probes fail; each is varied by ``jitter`` either way
    open_s: float = 30
    open_max_s: float = 300
    jitter: float = 0.2
    #: successful probes that close it
    successes: int = 3
    #: when to ask again while nothing says when (a probe is out, or an operator holds it open)
    probe_s: float = 1
    #: different recipients throttled in a row that make it the provider's throttling
    throttled_targets: int = 3

    @classmethod
    def of(cls, settings: Settings) -> BreakerPolicy:
        return cls(
            failures=settings.breaker_failures,
            window_s=settings.breaker_window_s,
            window_calls=settings.breaker_window_calls,
            failure_rate=settings.breaker_failure_rate,
            slow_rate=settings.breaker_slow_rate,
            slow_s=settings.breaker_slow_s,
            open_s=settings.breaker_open_s,
            open_max_s=settings.breaker_open_max_s,
            successes=settings.breaker_successes,
            probe_s=settings.pause_probe_s,
        )

    def verdict(self, failures_in_a_row: int, window: CallWindow) -> str | None:
        """Why a closed breaker must open, or None."""
        if failures_in_a_row >= self.failures:
            return f"{failures_in_a_row} failures in a row"
        calls = window.calls
        if calls < self.window_calls:
            return None
        if window.failed >= self.failure_rate * calls:
            return f"{window.failed} of {calls} calls failed within {self.window_s:g} s"
        if window.slow >= self.slow_rate * calls:
            return f"{window.slow} of {calls} calls slower than {self.slow_s:g} s within {self.window_s:g} s"
        return None

    def open_for_s(self, reopenings: int, uniform: Callable[[], float]) -> float:
        """How long to stay open, after ``reopenings`` failed probes since it was last closed."""
        length_s = min(self.open_max_s, self.open_s * 2.0 ** min(reopenings, _MOST_DOUBLINGS))
        return length_s * (1 - self.jitter + 2 * self.jitter * uniform())
