"""Lets calls to one provider begin at the rate that it accepts, the more urgent ones first."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable
from itertools import count

from shared.providers.rate import Rate

#: A message is treated as if it had come this much later than a high one, seconds: more urgent calls go first, and
#: after this time a less urgent one is next.
_LATER_S = {"high": 0.0, "medium": 5.0, "low": 20.0}
#: Turns that fell due while the event loop was busy are given together, up to this many seconds of them.
_CATCH_UP_S = 0.02


class Pace:
    """Gives turns to calls of one provider, as fast as its learned rate allows; without a limit at once.

    ``admits`` tells whether the provider may be called at all: while it does not, no call waits here.
    """

    def __init__(self, admits: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._admits = admits
        self._clock = clock
        self._rate = Rate()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._next_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._told_per_s = math.inf

    def limit_per_s(self) -> float:
        """Returns the calls per second to which the provider limits us now; 0 if it does not."""
        per_s = self._rate.per_s(self._clock())
        return 0.0 if per_s == math.inf else per_s

    @property
    def wait_s(self) -> float:
        """Returns about how long a call of middling urgency would wait for its turn, seconds."""
        if not self._waiting:
            return 0.0
        return len(self._waiting) / self._rate.per_s(self._clock())

    @property
    def is_free(self) -> bool:
        """Tells whether a call may begin at once, because the provider limits us not at all; cheaper than ``turn``."""
        return not (self._rate.is_learned or self._waiting)

    async def turn(self, priority: str) -> bool:
        """Waits for a turn; returns whether it had to wait. Cancelling it gives up the place."""
        now = self._clock()
        per_s = self._rate.per_s(now)
        if per_s == math.inf and not self._waiting:
            return False
        if not self._waiting and now >= self._next_at:
            self._next_at = now + 1 / per_s
            return False
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (now + _LATER_S.get(priority, 0.0), next(self._numbers), turn))
        self._schedule()
        await turn
        return True

    def passed(self, now: float) -> None:
        """Reports that the provider accepted a call."""
        self._rate.passed(now)

    def refused(self, began: float, now: float) -> bool:
        """Reports that a call that ``began`` then was refused as too fast.

        Returns whether this is news: the first limit, or one of less than half of the last that was news.
        """
        was_limited = self._rate.per_s(now) != math.inf
        if not self._rate.refused(began, now):
            return False
        limit_per_s = self._rate.per_s(now)
        if was_limited and limit_per_s > self._told_per_s / 2:
            return False
        self._told_per_s = limit_per_s
        return True

    def _schedule(self) -> None:
        if self._timer is None:
            delay_s = max(0.0, self._next_at - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._give)

    def _give(self) -> None:
        """Gives every turn that is due, and comes back for the next."""
        self._timer = None
        now = self._clock()
        per_s = self._rate.per_s(now)
        all_at_once = per_s == math.inf or not self._admits()
        self._next_at = max(self._next_at, now - _CATCH_UP_S)
        while self._waiting and (all_at_once or self._next_at <= now):
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                if not all_at_once:
                    self._next_at += 1 / per_s
        if self._waiting:
            self._schedule()
