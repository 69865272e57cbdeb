"""Counts and logs what the gateway refuses, so that an operator sees attacks and clients that went wrong.

Every refusal is counted. The log gets a sample, because a client that repeats a bad request a thousand times a second
must not fill the disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, generate_latest

from gateway.health.metrics_directory import current_directory
from gateway.http.problem import UNAVAILABLE

#: Lines per second and status that are logged; the next line after a second says how many were left out.
LINES_PER_S = 5

log = structlog.get_logger(__name__)


class Refused:
    """Counts refusals by status, and connections that were cut by rule; logs refusals. Create it after fork."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = CollectorRegistry()
        self._refused = Counter(
            "notify_refused", "Requests, and items of batches, that were refused", ("status",), registry=self._registry
        )
        self._cut = Counter(
            "notify_connections_cut", "Connections to the gateway that it cut", ("rule",), registry=self._registry
        )
        self._clock = clock
        self._lock = threading.Lock()
        #: status -> (second in which lines are counted, lines written in it, lines left out since the last one)
        self._lines: dict[int, tuple[int, int, int]] = {}

    def refused(self, status: int, **fields: Any) -> None:
        """Counts one refused request, and logs it with ``fields`` unless there were many just now."""
        self.count(status)
        left_out = self._turn(status)
        if left_out is not None:
            say = log.warning if status in (401, 403, UNAVAILABLE) else log.error if status >= 500 else log.info
            say("refused", status=status, **fields, **({"left_out": left_out} if left_out else {}))

    def count(self, status: int, number: int = 1) -> None:
        """Counts refusals without a line in the log."""
        self._refused.labels(str(status)).inc(number)

    def cut(self, rule: str) -> None:
        """Counts a connection that was cut."""
        self._cut.labels(rule).inc()

    def render(self) -> bytes:
        """Returns the Prometheus text format, or nothing if this process shares a directory: all is in there."""
        return generate_latest(self._registry) if current_directory() is None else b""

    def _turn(self, status: int) -> int | None:
        """Returns how many lines were left out since the last one, or None if this one is left out too."""
        with self._lock:
            second, written, left_out = self._lines.get(status, (0, 0, 0))
            if (now := int(self._clock())) != second:
                second, written = now, 0
            if written >= LINES_PER_S:
                self._lines[status] = second, written, left_out + 1
                return None
            self._lines[status] = second, written + 1, 0
            return left_out
