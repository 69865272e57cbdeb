"""Tells the outside of a breaker's changes: the listener that a breaker calls, and one that keeps a gauge and logs."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import structlog

from shared.metrics import Metrics

State = Literal["closed", "half_open", "open"]

#: the gauge's numbers, rising with how bad it is
SEVERITY: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}


class BreakerListener(Protocol):
    """Hears of each change of a breaker. Its methods are called on the event loop and must return at once."""

    def changed(self, name: str, old: State, new: State, why: str) -> None:
        """The breaker has moved from ``old`` to ``new``."""

    def paused(self, name: str, pause_s: float) -> None:
        """The provider throttles: no permits for ``pause_s`` seconds. A pause that only grows is not reported."""


class Silent:
    """A listener that does nothing."""

    def changed(self, name: str, old: State, new: State, why: str) -> None:
        return

    def paused(self, name: str, pause_s: float) -> None:
        return


class BreakerReport:
    """A listener that keeps ``notify_breaker_state{channel,provider}`` and logs each change and pause."""

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
