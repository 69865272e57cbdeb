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

from gateway.health.counts import AcceptedCounts
from gateway.http.problem import UNAVAILABLE

#: Lines per second and status that are logged; the next line after a second says how many were left out.
LINES_PER_S = 5

log = structlog.get_logger(__name__)


class Refused:
    """Counts refusals by status, and logs some of them."""

    def __init__(self, counts: AcceptedCounts, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = counts
        self._clock = clock
        self._lock = threading.Lock()
        #: status -> (second in which lines are counted, lines written in it, lines left out since the last one)
        self._lines: dict[int, tuple[int, int, int]] = {}

    def refused(self, status: int, **fields: Any) -> None:
        """Counts one refused request, and logs it with ``fields`` unless there were many just now."""
        self._counts.refused(status)
        left_out = self._turn(status)
        if left_out is not None:
            say = log.warning if status in (401, 403, UNAVAILABLE) else log.error if status >= 500 else log.info
            say("refused", status=status, **fields, **({"left_out": left_out} if left_out else {}))

    def items(self, status: int, number: int) -> None:
        """Counts refused items of a batch; the batch has one line in the log."""
        self._counts.refused(status, number)

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
