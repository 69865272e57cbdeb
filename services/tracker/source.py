"""Consumes ``events.queue``, and begins again after every loss of the connection or of the queue."""

from __future__ import annotations

import asyncio

import structlog

from services.tracker.intake import Intake
from shared.broker.channel import BROKER_FAILURES
from shared.broker.connection import Connection, State
from shared.broker.consumer import Consumer
from shared.broker.topology import EVENTS_LANE, event_parts
from shared.message.channels import Lane
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

#: Most messages that are not acked. Each holds up to some hundreds of events.
PREFETCH = 32
#: Pause after an error of the broker, so that a lasting fault does not become a hot loop, seconds.
PAUSE_S = 1.0


class Source:
    """Passes the messages of ``events.queue`` to the intake."""

    def __init__(self, url: str, name: str, intake: Intake, metrics: Metrics, prefetch: int = PREFETCH) -> None:
        self._prefetch = prefetch
        self._interrupted = asyncio.Event()
        self._consumer = Consumer(
            url,
            name,
            lanes=(EVENTS_LANE,),
            levels_s=(),
            on_delivery=intake.deliver,
            on_trouble=self._trouble,
            parts=event_parts(),
            metrics=metrics,
        )

    @property
    def connection(self) -> Connection:
        return self._consumer.connection

    @property
    def state(self) -> State:
        return self._consumer.state

    def start(self) -> None:
        """Starts to connect in the background, and returns at once."""
        self._consumer.start()

    async def close(self) -> None:
        """Writes the last acks and closes the connection; unacked messages return to the queue."""
        await self._consumer.close()

    async def run(self) -> None:
        """Consumes until it is cancelled. Raises TopologyMismatch."""
        while True:
            await self._consumer.wait_up()
            self._interrupted.clear()
            try:
                await self._consumer.consume({EVENTS_LANE: self._prefetch})
                await self._interrupted.wait()
                log.warning("events_interrupted")
                await self._consumer.wait_up()
                await self._consumer.declare()
            except BROKER_FAILURES as exc:
                log.warning("events_not_consumed", error=str(exc) or repr(exc))
                await asyncio.sleep(PAUSE_S)

    def _trouble(self, _lane: Lane | None) -> None:
        self._interrupted.set()
