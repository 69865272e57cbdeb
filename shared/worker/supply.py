"""Takes messages from the lanes. Each lane is opened and repaired alone: one that fails does not stop the others."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping

import structlog

from shared.broker.channel import BROKER_FAILURES
from shared.broker.consumer import Consumer
from shared.broker.incoming import Incoming
from shared.broker.topology import CONSUMERS_TOLD_S
from shared.message.channels import Lane, lanes_of
from shared.metrics import Metrics

log = structlog.get_logger(__name__)


#: Time between two tries to repair a lane that stays broken, seconds.
REPAIR_EVERY_S = 1.0


def share_prefetch(total: int, lanes: tuple[Lane, ...]) -> dict[Lane, int]:
    """Divides ``total`` messages: a quarter to high, half to medium, a quarter to low, at least one to each lane."""
    quarters = {"high": 1, "medium": 2, "low": 1}
    return {lane: max(1, total * quarters[lane.priority] // 4) for lane in lanes}


class BrokenLanes:
    """Lists the lanes that should flow and do not (queue missing, or without a leader), and counts each break."""

    def __init__(self, channel: str, metrics: Metrics) -> None:
        self._lanes: set[Lane] = set()
        # The counters are created here, so that each series begins at 0: an alert on an increase sees the first break.
        self._count = {lane: metrics.lanes_broken.labels(channel, lane.priority) for lane in lanes_of(channel)}
        metrics.broken_lanes.labels(channel).set_function(lambda: len(self._lanes))

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(tuple(self._lanes))

    def __contains__(self, lane: Lane) -> bool:
        return lane in self._lanes

    def add(self, lane: Lane) -> None:
        """Adds a broken lane; one that is broken already is not counted again."""
        if lane not in self._lanes:
            self._lanes.add(lane)
            self._count[lane].inc()

    def discard(self, lane: Lane) -> None:
        self._lanes.discard(lane)

    def clear(self) -> None:
        self._lanes.clear()


class Supply:
    """Takes single messages from the lanes, or lets the lanes flow; keeps ``broken`` up to date."""

    def __init__(self, consumer: Consumer, prefetch: Mapping[Lane, int], broken: BrokenLanes) -> None:
        self._consumer = consumer
        self._prefetch = dict(prefetch)
        self._broken = broken
        self._repaired_at = -math.inf

    def repair_in_s(self) -> float | None:
        """Returns the seconds until ``repair`` is due, 0 if it is due now, None while no lane is broken."""
        if not self._broken:
            return None
        return max(0.0, self._repaired_at + REPAIR_EVERY_S - time.monotonic())

    async def take(self, lane: Lane) -> Incoming | None:
        """Takes one message from this lane; returns None if the lane is empty or broken."""
        try:
            return await self._consumer.get(lane)
        except BROKER_FAILURES as exc:
            self._broke(lane, exc)
            return None

    async def take_one(self) -> Incoming | None:
        """Takes one message, from the most urgent lane that has one; returns None if there is none."""
        for lane in self._prefetch:
            incoming = await self.take(lane)
            if incoming is not None:
                return incoming
        return None

    async def flow(self, unacked: Mapping[Lane, int] | None = None) -> None:
        """Lets every lane flow.

        ``unacked``: how many messages of each lane the worker has already. The broker does not count them against a new
        consumer, so its prefetch is reduced by that number.
        """
        for lane, most in self._prefetch.items():
            await self._open(lane, max(1, most - (unacked or {}).get(lane, 0)))

    async def widen(self, lane: Lane) -> None:
        """Gives this lane its full prefetch again, unless it is broken: then its repair does."""
        if lane not in self._broken:
            await self._open(lane, self._prefetch[lane])

    async def cancel(self) -> None:
        """Stops every lane. Messages that were delivered before stay unacked."""
        await self._consumer.cancel()

    async def repair(self) -> None:
        """Declares missing queues and opens the broken lanes again; a lane that cannot be opened stays broken."""
        # The broker has told this worker that the queue is deleted; it may not have told other workers' consumers yet.
        await asyncio.sleep(CONSUMERS_TOLD_S)
        self._repaired_at = time.monotonic()
        try:
            await self._consumer.declare()
        except BROKER_FAILURES as exc:
            log.warning("lanes_not_declared", error=str(exc) or repr(exc))
        for lane in self._broken:
            await self._open(lane, self._prefetch[lane])

    async def _open(self, lane: Lane, prefetch: int) -> None:
        try:
            await self._consumer.consume({lane: prefetch})
        except BROKER_FAILURES as exc:
            self._broke(lane, exc)
        else:
            self._broken.discard(lane)

    def _broke(self, lane: Lane, exc: Exception) -> None:
        self._broken.add(lane)
        log.warning("lane_broken", lane=lane.routing_key, error=str(exc) or repr(exc))
