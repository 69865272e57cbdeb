"""What the outside sees of a breaker: a gauge and a log line a change."""

from __future__ import annotations

from typing import Any

import structlog

from shared.breaker.listener import State
from shared.metrics import Metrics

#: the gauge's numbers, rising with how bad it is
SEVERITY: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}


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
