"""An outcome made true, in one order: hand on and wait for the confirm, record, ack.

A hand-on that fails is repeated, the claim renewed before each repeat: the broker redelivers only when the channel is
lost, so a message given up here would occupy its slot for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from shared.backoff import level_for
from shared.broker import topology
from shared.broker.incoming import Incoming
from shared.broker.publisher import Publication
from shared.clock import now_ms, rfc3339
from shared.delivery.job import Job
from shared.errors import PublishFailed
from shared.failed.entry import failed_headers
from shared.idempotency.claims import END
from shared.message.headers import Travel
from shared.message.outcome import Dead, Retry, Sent, Skipped
from shared.metrics import Metrics
from shared.worker.poison import redeliveries
from shared.worker.recorder import Recorder

log = structlog.get_logger(__name__)

#: first and longest pause between two tries of a hand-on, seconds
REPEAT_FIRST_S, REPEAT_CAP_S = 0.2, 5.0


class Publishes(Protocol):
    """The publisher, as far as handing on needs it."""

    async def publish(self, publication: Publication, deadline_s: float | None = None) -> None: ...


class Settler:
    """Only it acks, and only what it has handed on or recorded (or what is settled already)."""

    def __init__(
        self, channel: str, publisher: Publishes, recorder: Recorder, metrics: Metrics, levels_s: Sequence[float]
    ) -> None:
        self._channel = channel
        self._publisher = publisher
        self._recorder = recorder
        self._metrics = metrics
        self._levels_s = tuple(levels_s)
        self._delivered: dict[str, Callable[[], None]] = {}
        self._seconds = {p: metrics.delivery_seconds.labels(channel, p) for p in ("high", "medium", "low")}

    async def settle(self, job: Job, outcome: Sent | Skipped | Retry | Dead) -> None:
        """Carry out the outcome of a claimed message."""
        if job.called and not job.travel.first_attempt_at:
            job.travel = replace(job.travel, first_attempt_at=rfc3339(now_ms()))
        match outcome:
            case Sent():
                await self._recorder.done(job, outcome.provider or "earlier", outcome.provider_id)
                job.incoming.ack()
                self._log_sent(job, outcome)
            case Skipped():
                await self._recorder.done(job, "", "")
                job.incoming.ack()
                self._metrics.skipped.labels(self._channel, outcome.reason).inc()
                log.info("skipped", **self._about(job), reason=outcome.reason)
            case Retry():
                await self._hand_on(self._to_ladder(job, outcome), job.claim.renew)
                await self._recorder.handed_on(job, job.travel.attempt + outcome.counted)
                job.incoming.ack()
                self._log_retry(job, outcome)
            case Dead():
                await self._hand_on(
                    self._to_failed(job.incoming, job.travel, job.accepted_ms, outcome, job.request_id),
                    job.claim.renew,
                )
                await self._recorder.handed_on(job, END)
                job.incoming.ack()
                self._log_dead(outcome, **self._about(job))

    async def send_away(self, job: Job, outcome: Retry | Dead) -> None:
        """Hand on a copy that holds no claim; nothing is recorded."""
        if isinstance(outcome, Retry):
            # Nothing has shown yet that it is no poison: what is known of its redeliveries travels on.
            await self._hand_on(self._to_ladder(job, outcome, redeliveries(job.incoming)))
            job.incoming.ack()
            self._log_retry(job, outcome)
        else:
            await self.bury(job.incoming, job.travel, job.accepted_ms, outcome, job.request_id)

    async def bury(
        self, incoming: Incoming, travel: Travel, accepted_ms: int, outcome: Dead, request_id: str = ""
    ) -> None:
        """To failed.queue without a claim: undecodable, or its request_id reused."""
        await self._hand_on(self._to_failed(incoming, travel, accepted_ms, outcome, request_id))
        incoming.ack()
        self._log_dead(outcome, request_id=request_id, channel=self._channel, attempt=travel.attempt)

    def drop_copy(self, job: Job, why: str) -> None:
        """Ack a copy whose life is settled or has moved on."""
        job.incoming.ack()
        self._metrics.duplicates.labels(self._channel).inc()
        log.info("duplicate", **self._about(job), why=why)

    async def _hand_on(
        self, publication: Publication, renew_claim: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        pause_s = REPEAT_FIRST_S
        while True:
            try:
                await self._publisher.publish(publication)
            except PublishFailed as exc:
                log.warning(
                    "hand_on_repeated",
                    request_id=publication.correlation_id,
                    exchange=publication.exchange,
                    error=str(exc),
                )
                await asyncio.sleep(pause_s)
                pause_s = min(REPEAT_CAP_S, pause_s * 2)
                if renew_claim is not None:
                    await renew_claim()
            else:
                return

    def _to_ladder(self, job: Job, outcome: Retry, given_out: int = 0) -> Publication:
        travel = replace(
            job.travel,
            accepted_at=rfc3339(job.accepted_ms),
            attempt=job.travel.attempt + outcome.counted,
            deferrals=job.travel.deferrals + (not outcome.counted),
            last_error=outcome.error or job.travel.last_error,
            redeliveries=given_out,
        )
        level_s = level_for(outcome.delay_s, self._levels_s)
        lane = job.incoming.lane
        return Publication(
            topology.retry_exchange(level_s), lane.routing_key, job.incoming.body, travel.to_headers(), job.request_id
        )

    def _to_failed(
        self, incoming: Incoming, travel: Travel, accepted_ms: int, outcome: Dead, request_id: str
    ) -> Publication:
        headers = failed_headers(incoming, travel, accepted_ms, outcome)
        return Publication(topology.FAILED_EXCHANGE, incoming.lane.routing_key, incoming.body, headers, request_id)

    def _about(self, job: Job) -> dict[str, object]:
        return {"request_id": job.request_id, "channel": self._channel, "attempt": job.travel.attempt}

    def _log_sent(self, job: Job, outcome: Sent) -> None:
        count = self._delivered.get(outcome.provider)
        if count is None:
            count = self._metrics.delivered.labels(self._channel, outcome.provider).inc
            self._delivered[outcome.provider] = count
        count()
        took_s = max(0, now_ms() - job.accepted_ms) / 1000
        self._seconds[job.incoming.lane.priority].observe(took_s)
        log.info(
            "delivered",
            request_id=job.request_id,
            channel=self._channel,
            attempt=job.travel.attempt,
            provider=outcome.provider,
            provider_id=outcome.provider_id,
            seconds=took_s,
        )

    def _log_retry(self, job: Job, outcome: Retry) -> None:
        self._metrics.retried.labels(self._channel, outcome.reason).inc()
        log.warning(
            "retry",
            **self._about(job),
            reason=outcome.reason,
            counted=outcome.counted,
            delay_s=round(outcome.delay_s, 3),
            provider=outcome.provider,
            error=outcome.error,
        )

    def _log_dead(self, outcome: Dead, **about: object) -> None:
        self._metrics.failed.labels(self._channel, outcome.reason).inc()
        log.error("failed", **about, reason=outcome.reason, provider=outcome.provider, error=outcome.error)
