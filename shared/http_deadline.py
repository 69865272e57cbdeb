"""How long a connection waits for an answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

#: how much longer a late answer is waited for when the process itself may have stood still, seconds
GRACE_S = 0.02


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
        self._at = math.inf
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, when: float, missed: float = math.nan) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = when
        self._timer = self._loop.call_at(when, self._look, missed)

    def _look(self, missed: float) -> None:
        self._looks_at = math.inf
        now = self._loop.time()
        if self._at == missed:
            self._on_passed()
        elif self._at <= now:
            # This process may have stood still itself, with the answer waiting in the socket: read that first.
            self._look_at(now + GRACE_S, self._at)
        elif self._at < math.inf:
            self._look_at(self._at)
