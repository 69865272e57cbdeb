"""Carries out an outcome: publishes the follow-up message and waits for its confirm, records the result, then acks.

The record is kept in Redis. A failed publish is repeated, and the claim is renewed before each repeat: the broker
redelivers a message only when its channel is lost, so a message given up here would occupy its slot indefinitely.

Once the AMQP channel of the message is lost, the broker has redelivered it. A message without a claim is then given up
after a failed publish, because its copy is forwarded in its place. One with a claim is not: its attempt is used up, and
only the forward and its record tell that to the copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from shared.backoff import level_for
from shared.broker import topology
from shared.broker.publisher import Publication, Publisher
from shared.clock import now_ms, rfc3339
from shared.delivery.job import Job
from shared.errors import PublishFailed
from shared.failed.entry import failed_headers
from shared.idempotency.claims import END
from shared.message.incoming import Incoming, Received
from shared.message.outcome import Dead, Duplicate, Retry, Sent, Settled, Skipped
from shared.metrics import Metrics
from shared.worker.forwards import Forwards
from shared.worker.poison import redeliveries
from shared.worker.recorder import Recorder

log = structlog.get_logger(__name__)

#: First and longest pause before a publish is repeated, seconds.
REPEAT_FIRST_S, REPEAT_CAP_S = 0.2, 5.0


class Settler:
    """Acks a worker's messages; no other class of it does. Acks only what it has forwarded or recorded, and copies."""

    def __init__(
        self,
        channel: str,
        publisher: Publisher,
        recorder: Recorder,
        forwards: Forwards,
        metrics: Metrics,
        levels_s: Sequence[float],
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._channel = channel
        self._forwards = forwards
        self._publisher = publisher
        self._recorder = recorder
        self._metrics = metrics
        self._levels_s = tuple(levels_s)
        self._clock_ms = clock_ms
        # It is bound once, because each use of ``log`` takes 1 us to find the logger.
        self._log = log.bind()
        self._delivered: dict[str, Callable[[], None]] = {}
        self._seconds = {p: metrics.delivery_seconds.labels(channel, p) for p in ("high", "medium", "low")}

    async def settle(self, job: Job, outcome: Settled) -> None:
        """Carries out the outcome of a message. Without a claim it only forwards or acks, and records nothing."""
        received = job.received
        if not isinstance(outcome, Sent) and job.called and not received.state.first_attempt_at:
            # The time travels with the follow-up message; a delivered message has none.
            received.state = replace(received.state, first_attempt_at=rfc3339(now_ms()))
        match outcome:
            case Sent():
                await self._recorder.done(job, outcome.provider or "earlier", outcome.provider_id)
                received.incoming.ack()
                self._log_sent(job, outcome)
            case Skipped():
                await self._recorder.done(job, "", "")
                received.incoming.ack()
                self._metrics.skipped.labels(self._channel, outcome.reason).inc()
                log.info("skipped", **self._about(received, job.request_id), reason=outcome.reason)
            case Duplicate():
                received.incoming.ack()
                self._metrics.duplicates.labels(self._channel).inc()
                log.info("duplicate", **self._about(received, job.request_id), why=outcome.why)
            case Retry() | Dead() if not job.claim.held:
                await self.settle_unclaimed(received, outcome, job.request_id, job=job)
            case Retry():
                await self._forward(received.incoming, self._to_ladder(received, outcome, job.request_id), job)
                await self._recorder.forwarded(job, received.state.attempt + outcome.counted)
                received.incoming.ack()
                self._log_retry(received, outcome, job.request_id)
            case Dead():
                await self._forward(received.incoming, self._to_failed(received, outcome, job.request_id), job)
                await self._recorder.forwarded(job, END)
                received.incoming.ack()
                self._log_dead(received, outcome, job.request_id)

    async def settle_unclaimed(
        self,
        received: Received,
        outcome: Retry | Dead,
        request_id: str = "",
        extra_redeliveries: int = 0,
        job: Job | None = None,
    ) -> None:
        """Forwards a message without a claim (an unreadable one, for example), then acks it; records nothing.

        Does neither if the publish fails and the broker has redelivered the message: then its copy is forwarded.
        ``extra_redeliveries``: number of redeliveries to add to the broker's count, because this forwarding is one.
        """
        if isinstance(outcome, Retry):
            # It may still be a message that crashes its worker, so its count of redeliveries travels on.
            count = redeliveries(received.incoming) + extra_redeliveries
            if await self._forward(received.incoming, self._to_ladder(received, outcome, request_id, count), job):
                received.incoming.ack()
                self._log_retry(received, outcome, request_id)
        elif await self._forward(received.incoming, self._to_failed(received, outcome, request_id), job):
            received.incoming.ack()
            self._log_dead(received, outcome, request_id)

    async def _forward(self, incoming: Incoming, publication: Publication, job: Job | None) -> bool:
        """Publishes until RabbitMQ confirms, and returns True.

        Returns False if a message without a claim is given up, because the broker has redelivered it.
        """
        pause_s, claimed = REPEAT_FIRST_S, job is not None and job.claim.held
        with self._forwards.entered(incoming):
            while True:
                try:
                    await self._publisher.publish(publication)
                except PublishFailed as exc:
                    self._metrics.forward_repeated.labels(self._channel).inc()
                    log.warning(
                        "forward_repeated",
                        request_id=publication.correlation_id,
                        **_sender(publication.headers.get("notify-client", "")),
                        exchange=publication.exchange,
                        error=str(exc),
                    )
                else:
                    return True
                if incoming.is_void and not claimed:
                    return False
                if job is not None:
                    job.step_aside()
                await asyncio.sleep(pause_s)
                pause_s = min(REPEAT_CAP_S, pause_s * 2)
                if job is not None and claimed:
                    await job.claim.renew()

    def _to_ladder(self, received: Received, outcome: Retry, request_id: str, redelivered: int = 0) -> Publication:
        before, incoming = received.state, received.incoming
        state = replace(
            before,
            accepted_at=rfc3339(received.accepted_ms),
            attempt=before.attempt + outcome.counted,
            deferrals=before.deferrals + (not outcome.counted),
            last_error=outcome.error or before.last_error,
            redeliveries=redelivered,
            # A claim of this delivery has left a record.
            unclaimed=before.unclaimed and not incoming.claimed,
        )
        exchange = topology.retry_exchange(level_for(outcome.delay_s, self._levels_s))
        return Publication(exchange, incoming.lane.routing_key, incoming.body, state.to_headers(), request_id)

    def _to_failed(self, received: Received, outcome: Dead, request_id: str) -> Publication:
        incoming = received.incoming
        headers = failed_headers(incoming, received.state, received.accepted_ms, outcome)
        return Publication(topology.FAILED_EXCHANGE, incoming.lane.routing_key, incoming.body, headers, request_id)

    def _about(self, received: Received, request_id: str) -> dict[str, object]:
        return {
            "request_id": request_id,
            **_sender(received.state.client),
            "channel": self._channel,
            "attempt": received.state.attempt,
        }

    def _log_sent(self, job: Job, outcome: Sent) -> None:
        received = job.received
        count = self._delivered.get(outcome.provider)
        if count is None:
            count = self._metrics.delivered.labels(self._channel, outcome.provider).inc
            self._delivered[outcome.provider] = count
        count()
        took_s = max(0, self._clock_ms() - received.accepted_ms) / 1000
        self._seconds[received.incoming.lane.priority].observe(took_s)
        self._log.info(
            "delivered",
            **job.names,
            channel=self._channel,
            attempt=received.state.attempt,
            provider=outcome.provider,
            provider_id=outcome.provider_id,
            seconds=took_s,
        )

    def _log_retry(self, received: Received, outcome: Retry, request_id: str) -> None:
        self._metrics.retried.labels(self._channel, outcome.reason).inc()
        log.warning(
            "retry",
            **self._about(received, request_id),
            reason=outcome.reason,
            counted=outcome.counted,
            delay_s=round(outcome.delay_s, 3),
            provider=outcome.provider,
            error=outcome.error,
        )

    def _log_dead(self, received: Received, outcome: Dead, request_id: str) -> None:
        self._metrics.failed.labels(self._channel, outcome.reason).inc()
        log.error(
            "failed",
            **self._about(received, request_id),
            reason=outcome.reason,
            provider=outcome.provider,
            error=outcome.error,
        )


def _sender(client: str) -> dict[str, str]:
    """Returns the field ``client`` for a log line, if the sender is known."""
    return {"client": client} if client else {}
