"""Publishes again, under the same request_id, what was accepted and has come to no end.

RabbitMQ loses nothing that it has confirmed, unless somebody deletes or purges a queue, or a cluster loses its disks.
So this looks seldom, and is careful. It publishes nothing as long as there may be another reason for the silence:

* the events that tell of the end are still in ``events.queue``;
* the notification waits on the ladder;
* messages wait in its lane;
* it was accepted so long ago that the record of a delivery may be gone from Redis: it could be sent twice.

A copy of what is not lost after all is recognised by the workers' claims, as every other copy.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from services.tracker.intake import Intake
from shared.broker.channel import BROKER_FAILURES
from shared.broker.publisher import Publication, Publisher
from shared.broker.queue_depth import Sampler, ready_in
from shared.broker.topology import EVENTS_LANE, EXCHANGE
from shared.clock import now_ms, rfc3339
from shared.errors import StoreUnavailable
from shared.message.channels import Lane
from shared.message.headers import DeliveryState
from shared.metrics import Metrics
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.timeline.rows import Overdue
from shared.store.timeline.standing import PLACES
from shared.store.timeline.timeline import Timeline

log = structlog.get_logger(__name__)

_PASSING: tuple[type[Exception], ...] = (StoreUnavailable, *BROKER_FAILURES)
#: How often it looks, seconds; more often if RECONCILE_AFTER_S is short.
EVERY_S = 60.0
#: Most notifications that are published again each time.
AT_ONCE = 500


class Reconciler:
    """Looks for notifications of which nothing was heard for ``after_s`` seconds.

    ``recorded_s`` is how long Redis keeps the record of a delivery; older notifications than half of it are left alone.
    """

    def __init__(
        self,
        store: Store,
        threads: StoreThreads,
        publisher: Publisher,
        sampler: Sampler,
        intake: Intake,
        metrics: Metrics,
        *,
        after_s: float,
        recorded_s: float,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._timeline, self._threads = Timeline(store.database), threads
        self._publisher, self._sampler, self._intake, self._metrics = publisher, sampler, intake, metrics
        self._after_ms, self._recorded_ms = round(after_s * 1000), round(recorded_s * 1000)
        self._every_s = min(EVERY_S, after_s / 4)
        self._clock_ms = clock_ms

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except _PASSING as exc:
                log.warning("not_reconciled", error=str(exc) or repr(exc))

    async def look(self) -> int:
        """Publishes again what seems to be lost. Returns how many. Raises StoreUnavailable and errors of the broker."""
        if self._intake.in_flight or self._sampler.ready(EVENTS_LANE) != 0:
            return 0
        now = self._clock_ms()
        since_ms = now - self._recorded_ms // 2
        found = await self._threads.read(self._timeline.overdue, now - self._after_ms, since_ms, AT_ONCE)
        lanes = {lane_of(one) for one in found}
        waiting = {lane: await ready_in(self._publisher.connection, lane.queue) for lane in lanes}
        lost = [one for one in found if not waiting[lane_of(one)]]
        if not lost:
            return 0
        fates = await self._publisher.publish_all([_publication(one) for one in lost])
        published = [one for one, fate in zip(lost, fates, strict=True) if fate is None]
        await self._threads.write(self._timeline.note_republished, published, now)
        self._tell(published, len(lost) - len(published))
        return len(published)

    def _tell(self, published: Sequence[Overdue], refused: int) -> None:
        for channel, count in Counter(one.channel for one in published).items():
            self._metrics.republished.labels(channel).inc(count)
        log.warning(
            "published_again",
            request_ids=[one.request_id for one in published[:20]],
            number=len(published),
            not_confirmed=refused,
        )


def lane_of(one: Overdue) -> Lane:
    return Lane(one.channel, one.priority if one.priority in ("high", "low") else "medium")  # type: ignore[arg-type]


def _publication(one: Overdue) -> Publication:
    """Returns the same message, at the attempt at which a copy of it would be next.

    An earlier attempt would be dropped as a stale copy.
    """
    replay, attempt = divmod(one.place, PLACES)
    # A replay is the time of an operator's order, at which the life began.
    state = DeliveryState(
        accepted_at=rfc3339(max(one.created_ms, replay)), attempt=attempt, replay=replay, client=one.client
    )
    body = one.body.encode()
    return Publication(EXCHANGE, lane_of(one).routing_key, body, state.to_headers(), one.request_id)
