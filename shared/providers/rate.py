"""Learns how many calls per second a provider accepts, from what it accepts and what it refuses as too fast.

It only calculates: times are passed in (monotonic, seconds). The method is that of TCP's congestion control (additive
increase and multiplicative decrease, with the convex growth of CUBIC, RFC 9438): a refusal lowers the rate to nine
tenths of what has passed, then the rate rises slowly at first and ever faster, until the next refusal. At a limit of 14
calls per second it mostly stays between 12 and 14 and asks too fast once in about five seconds.
"""

from __future__ import annotations

import math

#: After the first refusal, with nothing known, it begins with this many calls per second; each second it adds half.
FIRST_PER_S = 10.0
_SEARCH = 1.5
#: It never asks less often than this, calls per second: the provider's limit may be lifted at any time.
LEAST_PER_S = 0.5
#: A refusal counts only if its call began this long after the last change, seconds: the earlier calls were made at the
#: earlier rate, and limits are often counted within one second.
SETTLE_S = 1.0
#: After this time without a refusal there is no limit any more, seconds. The rate has grown 3000 times by then.
FORGET_S = 40.0

#: Part of the passing rate that is kept after a refusal, and part of the rate if nothing has passed.
_KEPT, _KEPT_IF_NOTHING_PASSED = 0.9, 0.5
#: The rate is ``base * exp(_GROWTH * t^2)``: 2 % more after 2 s, 10 % after 4.6 s, 7 times after 20 s.
_GROWTH = 0.005
#: Seconds for which accepted calls are counted.
_COUNTED_S = 10


class Rate:
    """Holds the learned rate of one provider; it is infinite until a call is refused as too fast."""

    def __init__(self) -> None:
        self._base = math.inf
        self._since = -math.inf
        self._searching = False
        self._passed_since = False
        #: accepted calls by second, modulo ``_COUNTED_S``
        self._counts = [0] * _COUNTED_S
        self._second = 0

    @property
    def is_learned(self) -> bool:
        """Tells whether there may be a limit: one was found, and nobody asked since it ended."""
        return self._base != math.inf

    def per_s(self, now: float) -> float:
        """Returns the calls per second that may be made now; infinite if there is no limit."""
        if self._base == math.inf:
            return math.inf
        age_s = now - self._since
        if age_s > FORGET_S:
            self._base = math.inf
            return math.inf
        return self._base * (_SEARCH**age_s if self._searching else math.exp(_GROWTH * age_s * age_s))

    def passed(self, now: float) -> None:
        """Counts an accepted call."""
        second = int(now)
        if second > self._second:
            self._turn_to(second)
        self._counts[self._second % _COUNTED_S] += 1
        self._passed_since = True

    def refused(self, began: float, now: float) -> bool:
        """Lowers the rate because a call that ``began`` then was refused as too fast; returns False if it stays."""
        if began < self._since + SETTLE_S:
            return False
        current = self.per_s(now)
        passed = self._passed_per_s(int(now))
        if current == math.inf:
            # Before that, calls have flowed for more than a second, or what passed is only a first burst.
            self._searching = not self._flowed(int(now))
            base = max(passed, FIRST_PER_S) if self._searching else passed * _KEPT
        elif self._passed_since:
            self._searching = False
            base = min(current, passed) * _KEPT
        else:
            # Nothing is known yet: it may have been a pause, or the limit is lower.
            self._searching = True
            base = self._base * _KEPT_IF_NOTHING_PASSED
        self._base = max(LEAST_PER_S, base)
        self._since = now
        self._passed_since = False
        return True

    def _passed_per_s(self, second: int) -> float:
        """Returns how many calls per second were accepted: in this second, in the last, or in the last ten."""
        self._turn_to(second)
        return max(self._at(second), self._at(second - 1), sum(self._counts) / _COUNTED_S)

    def _flowed(self, second: int) -> bool:
        return self._at(second - 1) > 0 and self._at(second - 2) > 0

    def _at(self, second: int) -> int:
        return self._counts[second % _COUNTED_S]

    def _turn_to(self, second: int) -> None:
        """Forgets the seconds that are over for longer than ``_COUNTED_S``."""
        for passed in range(max(self._second + 1, second - _COUNTED_S + 1), second + 1):
            self._counts[passed % _COUNTED_S] = 0
        self._second = max(self._second, second)
