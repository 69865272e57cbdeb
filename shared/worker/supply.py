"""The lanes as a source of messages, each by itself: what one of them cannot give, the others do not notice."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping

import structlog

from shared.broker.channel import BROKER_FAILURES
from shared.broker.consumer import Consumer
from shared.broker.incoming import Incoming
from shared.broker.topology import CONSUMERS_TOLD_S
from shared.message.channels import Lane

log = structlog.get_logger(__name__)


#: a lane that stays broken is tried again this often, seconds
MEND_EVERY_S = 1.0


class Supply:
    """``broken`` holds the lanes that do not flow although they should: a missing queue, or one without a leader."""

    def __init__(self, consumer: Consumer, prefetch: Mapping[Lane, int]) -> None:
        self._consumer = consumer
        self._prefetch = dict(prefetch)
        self.broken: set[Lane] = set()
        self._mended_at = -math.inf

    def mend_in_s(self) -> float | None:
        """Seconds until ``mend`` is due, 0 if it is now; None while nothing is broken."""
        if not self.broken:
            return None
        return max(0.0, self._mended_at + MEND_EVERY_S - time.monotonic())

    async def take(self, lane: Lane) -> Incoming | None:
        """One message of this lane; None if it has none, or cannot give one now."""
        try:
            return await self._consumer.get(lane)
        except BROKER_FAILURES as exc:
            self._broke(lane, exc)
            return None

    async def take_one(self) -> Incoming | None:
        """One message, high lane first; None if there is none."""
        for lane in self._prefetch:
            incoming = await self.take(lane)
            if incoming is not None:
                return incoming
        return None

    async def flow(self, in_hand: Mapping[Lane, int] | None = None) -> None:
        """Let every lane flow. ``in_hand``: messages that are held already and do not count against a consumer."""
        for lane, most in self._prefetch.items():
            await self._open(lane, max(1, most - (in_hand or {}).get(lane, 0)))

    async def widen(self, lanes: Mapping[Lane, int]) -> None:
        """Give these lanes their whole prefetch."""
        for lane in lanes:
            await self._open(lane, self._prefetch[lane])

    async def mend(self) -> None:
        """Declare what is missing and open the broken lanes again; what still cannot be opened stays broken."""
        # Ours has been told of its queue's end; other workers' consumers may not have been.
        await asyncio.sleep(CONSUMERS_TOLD_S)
        self._mended_at = time.monotonic()
        try:
            await self._consumer.declare()
        except BROKER_FAILURES as exc:
            log.warning("lanes_not_declared", error=str(exc) or repr(exc))
        for lane in tuple(self.broken):
            await self._open(lane, self._prefetch[lane])

    async def _open(self, lane: Lane, prefetch: int) -> None:
        try:
            await self._consumer.consume({lane: prefetch})
        except BROKER_FAILURES as exc:
            self._broke(lane, exc)
        else:
            self.broken.discard(lane)

    def _broke(self, lane: Lane, exc: Exception) -> None:
        self.broken.add(lane)
        log.warning("lane_broken", lane=lane.routing_key, error=str(exc) or repr(exc))
