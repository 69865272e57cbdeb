"""Takes the messages of ``events.queue`` to the database: decodes them, writes them in batches, then acks them.

A message is acked when its events are committed, so the database may be away for any time: RabbitMQ keeps what this
process does not have, and takes back what it has. There is no timer: while one transaction commits, the next batch
gathers. What nobody can read goes to ``failed.queue``, and does not keep out what came with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from shared.broker.publisher import Publication, Publisher
from shared.broker.topology import EVENTS_LANE, FAILED_EXCHANGE
from shared.clock import now_ms
from shared.errors import PublishFailed, StoreUnavailable
from shared.events.event import Event, Report, events_of
from shared.events.wire import decode, encode
from shared.failed.entry import failed_headers
from shared.message.headers import DeliveryState
from shared.message.incoming import Incoming
from shared.message.outcome import Dead
from shared.metrics import Metrics
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.timeline.timeline import Timeline

log = structlog.get_logger(__name__)

#: A batch is closed when it has so many events.
BATCH_EVENTS = 1_000
#: First and longest pause before a batch is written again, seconds.
REPEAT_FIRST_S, REPEAT_CAP_S = 0.2, 5.0
_DAY_MS = 86_400_000


@dataclass(slots=True)
class _Batch:
    """Holds messages that are written together. ``unreadable`` maps a message to its reports that must be parked."""

    messages: list[Incoming] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    origins: dict[tuple[Any, ...], tuple[Incoming, Report]] = field(default_factory=dict)
    unreadable: dict[Incoming, list[tuple[Any, str]]] = field(default_factory=dict)
    whole: dict[Incoming, str] = field(default_factory=dict)


class Intake:
    """Writes what ``deliver`` is given. ``days`` is how long the timeline is kept."""

    def __init__(
        self,
        store: Store,
        threads: StoreThreads,
        publisher: Publisher,
        metrics: Metrics,
        days: float,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._store, self._threads, self._publisher, self._metrics = store, threads, publisher, metrics
        self._timeline = Timeline(store.database)
        self._kept_ms = round(days * _DAY_MS)
        self._clock_ms = clock_ms
        self._waiting: deque[Incoming] = deque()
        self._writing = 0
        self._arrived = asyncio.Event()
        self._checked = self._away = False

    @property
    def store_up(self) -> bool:
        """Tells whether the last batch could be written."""
        return not self._away

    @property
    def in_flight(self) -> int:
        """Returns the number of messages that are not acked yet."""
        return len(self._waiting) + self._writing

    def deliver(self, incoming: Incoming) -> None:
        """Takes a message of the broker."""
        self._waiting.append(incoming)
        self._arrived.set()

    async def run(self) -> None:
        """Writes until it is cancelled. Raises SchemaMismatch if the tables do not fit."""
        while True:
            while self._waiting:
                batch = self._take()
                self._writing = len(batch.messages)
                await self._write(batch)
                self._writing = 0
            self._arrived.clear()
            await self._arrived.wait()

    def _take(self) -> _Batch:
        """Decodes the next messages into a batch."""
        batch, oldest_ms = _Batch(), self._clock_ms() - self._kept_ms
        while self._waiting and len(batch.events) < BATCH_EVENTS:
            incoming = self._waiting.popleft()
            if incoming.is_void:
                # RabbitMQ delivers it again.
                continue
            batch.messages.append(incoming)
            decoded = decode(incoming.body)
            if decoded.problem:
                batch.whole[incoming] = decoded.problem
            if decoded.invalid:
                batch.unreadable[incoming] = decoded.invalid
            for report in decoded.reports:
                for event in events_of(report):
                    # What is older has been removed already, and would come back as a fragment.
                    if (event.accepted_ms or event.at_ms) >= oldest_ms:
                        batch.events.append(event)
                        batch.origins[event[:4]] = (incoming, report)
        return batch

    async def _write(self, batch: _Batch) -> None:
        """Writes a batch, however long the database is away, and acks its messages."""
        pause_s = REPEAT_FIRST_S
        while True:
            try:
                rejected = await self._threads.write(self._commit, batch.events)
            except StoreUnavailable as exc:
                if all(incoming.is_void for incoming in batch.messages):
                    # RabbitMQ has taken them back.
                    return
                self._note(str(exc))
                await asyncio.sleep(pause_s)
                pause_s = min(REPEAT_CAP_S, pause_s * 2)
            else:
                break
        self._note("")
        for event, why in rejected:
            incoming, report = batch.origins[event[:4]]
            batch.unreadable.setdefault(incoming, []).append((report, why))
        for incoming in batch.messages:
            await self._park(incoming, batch)
            incoming.ack()
        self._metrics.events_written.inc(len(batch.events) - len(rejected))
        if batch.events:
            self._metrics.events_lag.set(max(0, self._clock_ms() - batch.events[-1].at_ms) / 1000)

    def _commit(self, events: list[Event]) -> list[tuple[Event, str]]:
        if not self._checked:
            self._store.check_schema()
            self._checked = True
        return self._timeline.write(events)

    async def _park(self, incoming: Incoming, batch: _Batch) -> None:
        """Sends to failed.queue what cannot be read of a message; that is repeated until RabbitMQ confirms it."""
        found = batch.unreadable.get(incoming, [])
        whole = batch.whole.get(incoming)
        if whole is None and not found:
            return
        body = incoming.body if whole is not None else encode([report for report, _ in found])
        why = whole if whole is not None else "; ".join(dict.fromkeys(why for _, why in found))
        headers = failed_headers(incoming, DeliveryState(), self._clock_ms(), Dead("invalid_event", why))
        publication = Publication(FAILED_EXCHANGE, EVENTS_LANE.routing_key, body, headers)
        self._metrics.events_rejected.inc(max(1, len(found)))
        log.error("events_unreadable", reports=len(found), error=why, bytes=len(incoming.body))
        pause_s = REPEAT_FIRST_S
        while not incoming.is_void:
            try:
                await self._publisher.publish(publication)
            except PublishFailed as exc:
                log.warning("forward_repeated", exchange=FAILED_EXCHANGE, error=str(exc))
                await asyncio.sleep(pause_s)
                pause_s = min(REPEAT_CAP_S, pause_s * 2)
            else:
                return

    def _note(self, error: str) -> None:
        if error and not self._away:
            log.warning("timeline_not_written", error=error, messages=self.in_flight)
        elif self._away and not error:
            log.info("timeline_written_again", messages=self.in_flight)
        self._away = bool(error)
