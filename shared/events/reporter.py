"""Publishes reports: those of one turn of the event loop in one message, and repeats it until RabbitMQ confirms it.

Who reports may wait for the confirm, and a worker does before it acks: if the process dies, the message comes back, and
the same is told again under the same ids. But a notification is worth more than its timeline. If RabbitMQ does not
confirm within PATIENCE_S, nobody waits any longer, and until it confirms again nobody waits at all: reports are then
kept here up to a limit, and those beyond it are counted as lost (docs/decisions/events.md).

Events have a connection of their own. A full queue or a missing exchange closes or replaces the AMQP channel on which
it is met, and the channel of the notifications must not be that one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from shared.broker import topology
from shared.broker.publisher import Publication, Publisher
from shared.errors import PublishFailed
from shared.events.event import Report
from shared.events.wire import MOST_BODY_BYTES, MOST_REPORTS, encode
from shared.logs import log_death
from shared.metrics import Metrics
from shared.settings.settings import Settings

log = structlog.get_logger(__name__)

#: Longest time for which anybody waits for a confirm, and the pause before a message is published again, seconds.
PATIENCE_S, REPEAT_S = 1.0, 1.0
#: With so many messages on their way, further reports gather: messages grow with the load.
MOST_IN_FLIGHT = 2
#: Most reports that are kept while RabbitMQ confirms none, and most bytes of their bodies.
MOST_KEPT, MOST_KEPT_BYTES = 20_000, 16 * 1024 * 1024
#: How long a process that ends waits for its last confirms, seconds.
GOODBYE_S = 2.0


class Batch:
    """Holds the reports of one message, and who waits for its confirm."""

    __slots__ = ("body_bytes", "reports", "waiters")

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.body_bytes = 0
        #: None once nobody has to wait any more
        self.waiters: list[asyncio.Future[None]] | None = []

    @property
    def is_full(self) -> bool:
        return len(self.reports) >= MOST_REPORTS or self.body_bytes >= MOST_BODY_BYTES

    @property
    def events(self) -> int:
        return sum(len(report[-1]) for report in self.reports)

    def release(self) -> None:
        """Lets everybody go on who waits."""
        waiters, self.waiters = self.waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)


#: A report that was not kept is waited for by nobody.
_NOBODY_WAITS = Batch()
_NOBODY_WAITS.release()


class Reporter:
    """Publishes the reports of one process, under the routing key ``source``.

    ``publisher`` is used by nothing else. ``lost`` counts the events that nobody will learn of.
    """

    def __init__(self, publisher: Publisher, source: str, lost: Callable[[float], object]) -> None:
        self._publisher = publisher
        self._source = source
        self._count_lost = lost
        self._batches: deque[Batch] = deque()
        self._kept = self._kept_bytes = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._scheduled = self._refused = self._losing = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Starts to connect in the background, and returns at once."""
        self._loop = asyncio.get_running_loop()
        self._publisher.start()

    @property
    def refused(self) -> bool:
        """Tells whether RabbitMQ does not confirm events now."""
        return self._refused

    @property
    def kept(self) -> int:
        """Returns the number of reports that are not confirmed yet."""
        return self._kept

    def report(self, report: Report) -> Batch:
        """Publishes a report at the end of this turn of the loop. Pass what it returns to ``confirmed``."""
        body_bytes = sum(len(told[-1]) for told in report[-1] if told[-1])
        if self._kept >= MOST_KEPT or self._kept_bytes + body_bytes > MOST_KEPT_BYTES:
            self._lose(len(report[-1]))
            return _NOBODY_WAITS
        self._kept += 1
        self._kept_bytes += body_bytes
        if not self._batches or self._batches[-1].is_full:
            self._batches.append(Batch())
        batch = self._batches[-1]
        batch.reports.append(report)
        batch.body_bytes += body_bytes
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn_over)
        return batch

    def report_from_thread(self, report: Report) -> None:
        """Publishes a report from another thread than that of the loop; nobody waits for it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.report, report)

    async def confirmed(self, batch: Batch) -> None:
        """Waits until RabbitMQ has confirmed these reports, for at most about PATIENCE_S; raises nothing."""
        if self._refused or batch.waiters is None:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch.waiters.append(waiter)
        await waiter

    async def close(self) -> None:
        """Waits a moment for the last confirms, then closes the connection."""
        loop = asyncio.get_running_loop()
        until = loop.time() + GOODBYE_S
        self._send()
        while self._sending and (left_s := until - loop.time()) > 0:
            # What has gathered is sent when one of these ends.
            await asyncio.wait(self._sending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        for sending in self._sending:
            sending.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        if self._kept:
            log.error("events_lost", source=self._source, reports=self._kept, why="the process has ended")
        await self._publisher.close()

    def _turn_over(self) -> None:
        self._scheduled = False
        self._send()

    def _send(self) -> None:
        while self._batches and len(self._sending) < MOST_IN_FLIGHT:
            task = asyncio.get_running_loop().create_task(self._publish(self._batches.popleft()))
            self._sending.add(task)
            task.add_done_callback(self._sent)
            task.add_done_callback(log_death)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            self._send()

    async def _publish(self, batch: Batch) -> None:
        """Publishes a message until it is confirmed."""
        try:
            message = Publication(topology.EVENTS_EXCHANGE, self._source, self._encoded(batch), {})
            while True:
                try:
                    await self._publisher.publish(message, PATIENCE_S)
                except PublishFailed as exc:
                    self._refuse(batch, exc)
                    await asyncio.sleep(REPEAT_S)
                else:
                    self._accept()
                    return
        finally:
            # Also if it ends by an error that nobody foresaw: no message may wait for ever for its timeline.
            self._kept -= len(batch.reports)
            self._kept_bytes -= batch.body_bytes
            batch.release()

    def _encoded(self, batch: Batch) -> bytes:
        try:
            return encode(batch.reports)
        except TypeError:
            # A text with half a character has no UTF-8. Only the reports that hold one are left out.
            fit = [report for report in batch.reports if _is_encodable(report)]
            self._count_lost(batch.events - sum(len(report[-1]) for report in fit))
            log.exception("events_not_encodable", source=self._source)
            return encode(fit)

    def _refuse(self, batch: Batch, error: PublishFailed) -> None:
        batch.release()
        for waiting in self._batches:
            waiting.release()
        if not self._refused:
            self._refused = True
            log.warning("events_refused", source=self._source, error=str(error))

    def _accept(self) -> None:
        if self._refused:
            self._refused = self._losing = False
            log.info("events_accepted_again", source=self._source, reports=self._kept)

    def _lose(self, events: int) -> None:
        self._count_lost(events)
        if not self._losing:
            self._losing = True
            log.error("events_lost", source=self._source, reports=self._kept, why="RabbitMQ confirms none")


def _is_encodable(report: Report) -> bool:
    try:
        encode([report])
    except TypeError:
        return False
    return True


def reporter_for(
    settings: Settings, source: str, name: str, lost: Callable[[float], object], metrics: Metrics | None = None
) -> Reporter | None:
    """Builds the reporter of one process, which is ``name`` at the broker; returns None if EVENTS is off."""
    if not settings.events.on:
        return None
    publisher = Publisher(
        settings.broker.url,
        f"{name} tells",
        levels_s=(),
        deadline_s=PATIENCE_S,
        max_pending=MOST_IN_FLIGHT,
        parts=topology.event_parts(),
        metrics=metrics,
    )
    return Reporter(publisher, source, lost)
