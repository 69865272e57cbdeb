"""How long a connection waits for an answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """``on_passed`` is called once the time set last has passed, unless it was cleared.

    One timer serves many requests: it is set anew only when it has run, or would run too late. A timer a request would
    cost a fifth of the whole call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_passed: Callable[[], None]) -> None:
        self._loop = loop
        self._on_passed = on_passed
        self._at = math.inf
        self._looks_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """From now."""
        self._at = at = self._loop.time() + seconds
        if at < self._looks_at:
            self._look_at(at)

    def clear(self) -> None:
        self._at = math.inf

    def stop(self) -> None:
        """Clear it for good."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._looks_at = math.inf
        # What came while this process stood still has been read by now: both loops poll before they run timers.
        if self._at <= self._loop.time():
            self._on_passed()
        elif self._at < math.inf:
            self._look_at(self._at)
