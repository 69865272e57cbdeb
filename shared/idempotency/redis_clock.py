"""Tells Redis' time without asking for it: every claim's answer carries it, and the rest is elapsed time.

The end of a message's life is judged by this one clock. A worker's own clock may be wrong by minutes; it would expire
messages that are alive, or send what must not be sent any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.clock import now_ms


class RedisClock:
    """Holds the last answer; until the first one, it tells this machine's own time.

    ``clock`` returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ahead_ms: float | None = None

    def heard(self, redis_ms: int, asked_at: float) -> None:
        """Notes the time in an answer, in milliseconds since the epoch, to a request made at ``asked_at``.

        It counts from the request: so the clock is never behind Redis', and nothing is sent after its end.
        """
        self._ahead_ms = redis_ms - asked_at * 1000

    def now_ms(self) -> int:
        """Returns Redis' time, milliseconds since the epoch; it may be ahead by the length of the last round trip."""
        return now_ms() if self._ahead_ms is None else round(self._clock() * 1000 + self._ahead_ms)
