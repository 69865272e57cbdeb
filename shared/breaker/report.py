"""Reports a breaker's changes: defines the listener that a breaker calls, and one that sets a gauge and logs."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import structlog

from shared.metrics import Metrics

State = Literal["closed", "half_open", "open"]

#: the gauge's value for each state; a higher value is worse
SEVERITY: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}


class BreakerListener(Protocol):
    """Is called for each change of a breaker. Its methods run on the event loop and must return at once."""

    def changed(self, name: str, old: State, new: State, why: str) -> None:
        """Is called when the breaker has moved from ``old`` to ``new``."""

    def paused(self, name: str, pause_s: float) -> None:
        """Is called when the provider throttles: the breaker gives no permits for ``pause_s`` seconds.

        It is not called when a pause only gets longer.
        """


class Silent:
    """Ignores all changes."""

    def changed(self, name: str, old: State, new: State, why: str) -> None:
        return

    def paused(self, name: str, pause_s: float) -> None:
        return


class BreakerReport:
    """Sets the gauge ``notify_breaker_state{channel,provider}`` and logs each change and pause."""

    def __init__(self, metrics: Metrics, channel: str, provider: str, log: Any = None) -> None:
        self._log = (log or structlog.get_logger()).bind(channel=channel, provider=provider)
        self._gauge = metrics.breaker_state.labels(channel, provider)
        self._gauge.set(SEVERITY["closed"])

    def changed(self, name: str, old: State, new: State, why: str) -> None:
        self._gauge.set(SEVERITY[new])
        say = self._log.warning if new == "open" else self._log.info
        say("breaker_changed", breaker=name, old=old, new=new, why=why)

    def paused(self, name: str, pause_s: float) -> None:
        self._log.warning("provider_throttled", breaker=name, pause_s=round(pause_s, 3))
