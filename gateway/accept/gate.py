"""Decides whether a notification may be published now, so that an outage costs callers a quick 503, not a long wait.

A notification is refused with a Problem in three cases:

1. More messages are ready in its lane's queue than ``queue_max_ready``.
2. Its lane does not confirm. Each lane has a breaker of its own: one missed deadline opens it, after a second the
   requests of one turn of the loop are let through as a probe, and one answer closes it again. So a lane without a
   leader stops no other lane.
3. As many requests as may wait for the broker at once wait for it already.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Self

import structlog

from gateway.http.problem import RETRY_LANE_FULL_S, Problem, unavailable
from shared.breaker.breaker import Breaker, Permit
from shared.breaker.report import BreakerListener
from shared.broker.queue_depth import Sampler
from shared.errors import PublishFailed, PublishUnknown
from shared.message.channels import CHANNELS, Lane, lanes_of
from shared.settings.groups.breaker import BreakerPolicy

#: The breaker opens at the first missed deadline, tries again after a second and closes at the first answer.
_ONE_MISS = BreakerPolicy(failures=1, open_s=1, open_max_s=1, successes=1)
#: A missed deadline counts as current for this long, in seconds.
MISS_IS_RECENT_S = 10.0

log = structlog.get_logger(__name__)


def one_miss_breaker(name: str, clock: Callable[[], float], listener: BreakerListener | None = None) -> Breaker:
    """Makes a breaker that lets a probe through exactly one second after each miss, without random variation."""
    return Breaker(name, _ONE_MISS, clock, listener, uniform=lambda: 0.5)


class Gate:
    """Admits requests. Only the loop's thread may use it, except ``silent``. ``clock`` returns monotonic seconds."""

    def __init__(
        self, depths: Sampler, *, queue_max_ready: int, max_waiting: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._depths = depths
        self._queue_max_ready, self._max_waiting = queue_max_ready, max_waiting
        self._clock = clock
        self._breakers = {
            lane: one_miss_breaker(lane.queue, clock, _ChangeLog())
            for channel in CHANNELS
            for lane in lanes_of(channel)
        }
        self._waiting = 0
        self._answered_at = self._missed_at = -math.inf

    @property
    def silent(self) -> bool:
        """Tells whether the broker as a whole has stopped confirming: a deadline was missed, and the broker has
        answered nothing since that message was sent.

        A missed deadline counts for MISS_IS_RECENT_S only: a gateway that gets no requests while it counts as silent
        sends no probe that could show that the broker answers again.
        """
        return self._missed_at > self._answered_at and self._clock() < self._missed_at + MISS_IS_RECENT_S

    def admission(self) -> Admission:
        """Opens the admission of requests that are published together; use it as a context manager."""
        return Admission(self)

    def _full(self, lanes: Sequence[Lane]) -> Problem | None:
        for lane in lanes:
            ready = self._depths.ready(lane)
            if ready is not None and ready > self._queue_max_ready:
                return unavailable(f"{lane.queue} is full", RETRY_LANE_FULL_S)
        return None


class Admission:
    """Holds what a group of requests was admitted with: a place for each among those that wait, a permit for each lane.

    At the end of the block, each lane's breaker is told whether the lane has answered. A lane without any result (for
    example because the request was cancelled) counts as neither answered nor silent.
    """

    __slots__ = ("_answered", "_gate", "_missed", "_permits", "_places", "_since")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._places: set[object] = set()
        self._since = gate._clock()
        self._permits: dict[Lane, Permit] = {}
        self._answered: set[Lane] = set()
        self._missed: set[Lane] = set()

    def refusal(self, request: object, lanes: Sequence[Lane]) -> Problem | None:
        """Admits a notification of ``request`` for these lanes, or returns why it cannot be published now.

        All notifications of one request take one place.
        """
        gate = self._gate
        if (full := gate._full(lanes)) is not None:
            return full
        if request not in self._places:
            if gate._waiting >= gate._max_waiting:
                return unavailable("too many requests wait for the broker; sending it again is safe")
            gate._waiting += 1
            self._places.add(request)
        for lane in lanes:
            if lane not in self._permits:
                permit = gate._breakers[lane].permit()
                if permit is None:
                    return unavailable(f"{lane.queue} does not confirm at the moment; sending it again is safe")
                self._permits[lane] = permit
        return None

    def heard(self, lane: Lane, failure: PublishFailed | None) -> None:
        """Notes the result of one message. Only silence opens a breaker: a refused or returned message was answered."""
        (self._missed if isinstance(failure, PublishUnknown) else self._answered).add(lane)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        gate = self._gate
        gate._waiting -= len(self._places)
        for lane, permit in self._permits.items():
            if lane in self._missed:
                permit.failure(0.0)
            elif lane in self._answered:
                permit.success(0.0)
            else:
                permit.neither()
        if self._missed and gate._answered_at < self._since:
            gate._missed_at = gate._clock()
        if self._answered:
            gate._answered_at = gate._clock()


class _ChangeLog:
    """Logs when a lane stops confirming and when it confirms again, but not each probe between."""

    def changed(self, name: str, old: str, new: str, why: str) -> None:
        if new == "closed":
            log.info("lane_confirms_again", queue=name)
        elif old == "closed":
            log.warning("lane_does_not_confirm", queue=name)

    def paused(self, name: str, pause_s: float) -> None:
        return
