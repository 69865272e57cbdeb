"""Takes one message from its bytes to its ack: reads it, claims it, attempts it, settles it.

Nothing is sent before the claim is answered with yes (with ``IDEMPOTENCY_ON_REDIS_DOWN=proceed`` an unavailable Redis
counts as yes). A message that has to be forwarded is forwarded even if Redis is unavailable.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import structlog

from shared.delivery.delivery import Delivery
from shared.delivery.job import Job
from shared.delivery.retry_policy import Failure
from shared.errors import InvalidEnvelope, RedisUnavailable
from shared.idempotency.claim import Claim
from shared.idempotency.claims import Claims
from shared.idempotency.local_copies import Turn, Turns
from shared.message.envelope import check_queued, decode_queued, parse_queued
from shared.message.headers import has_unreadable_client
from shared.message.identity import CLIENT_RULE, Identity, body_hash, message_hash, readable_request_id
from shared.message.incoming import Incoming, Received
from shared.message.outcome import Dead, DeadReason, Hold, HoldCause, Outcome, RetryReason
from shared.metrics import Metrics
from shared.settings.settings import Settings
from shared.worker.poison import GIVE_UP_AT, is_poison, redeliveries
from shared.worker.settler import Settler

log = structlog.get_logger(__name__)

#: The retry reason for each cause for which a message was held.
_HELD_FOR: dict[HoldCause, RetryReason] = {
    "provider": "provider_unavailable",
    "users": "directory_unavailable",
    "templates": "templates_unavailable",
    "redis": "unexpected",
}


class Handler:
    """Handles the messages of one channel, any number of them at a time."""

    def __init__(
        self,
        channel: str,
        delivery: Delivery,
        claims: Claims,
        settler: Settler,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._channel = channel
        self._delivery = delivery
        self._claims = claims
        self._settler = settler
        self._budget_s = settings.idempotency.handling_budget_s
        self._proceed = settings.idempotency.on_redis_down == "proceed"
        self._failures = metrics.handler_failed.labels(channel)
        self._turns = Turns()

    async def handle(self, incoming: Incoming) -> HoldCause | None:
        """Settles one message and returns None, or returns the cause that prevents it now.

        With a cause, the message has no claim and no ack, and the caller holds it. If a bug outside the rule book
        stops the handling, the message goes to the ladder and comes back after a delay (see
        ``_forward_after_bug``). Raises only errors of this forwarding.
        """
        try:
            job = await self._read(incoming)
            if job is None:
                return None
            job.turn = turn = self._turns.enter(job.key)
            try:
                return await self._claim_and_attempt(job, turn)
            finally:
                self._turns.leave(job.key, turn)
        except Exception as exc:
            self._failures.inc()
            log.exception("handler_failed", lane=incoming.lane.routing_key, message_id=incoming.message_id)
            await self._forward_after_bug(incoming, exc)
            return None

    async def requeue(self, incoming: Incoming, cause: HoldCause) -> None:
        """Sends a message that was held for a long time to the ladder: uncounted, without a claim, nothing recorded."""
        job = await self._read(incoming)
        if job is not None:
            failure = Failure(_HELD_FOR[cause], f"paused: {cause}", counted=False)
            received = job.received
            if not (incoming.claimed or received.was_recorded):
                # When it comes back, a missing record must not look like a loss of Redis.
                received.state = replace(received.state, unclaimed=True)
            await self._settler.settle(job, self._delivery.later(failure, received.state))

    async def record_untried(self, incoming: Incoming) -> None:
        """Records that a message which goes back to its queue has not been tried; raises nothing.

        The broker delivers it as a redelivery. Without a record that would look as if Redis had lost one.
        """
        if incoming.is_void or incoming.acked:
            return
        try:
            job = self._job(Received.read(incoming, self._claims.now_ms))
            await job.claim.take()
            if job.claim.held:
                await job.claim.release()
        except (InvalidEnvelope, RedisUnavailable) as exc:
            log.info("untried_not_recorded", message_id=incoming.message_id, error=str(exc))
        except Exception:
            log.exception("untried_not_recorded", message_id=incoming.message_id)

    def waits_for(self, incoming: Incoming, cause: HoldCause) -> bool:
        """Tells whether the message cannot be sent before ``cause`` is over; one that needs no look-up can."""
        if cause not in ("users", "templates"):
            return True
        try:
            envelope = parse_queued(incoming.body, self._channel)
        except InvalidEnvelope:
            return False
        return envelope.recipient is None if cause == "users" else envelope.content is None

    async def _read(self, incoming: Incoming) -> Job | None:
        """Returns the job, or None if the message cannot be read: then it has been forwarded to failed.queue."""
        received = Received.read(incoming, self._claims.now_ms)
        try:
            return self._job(received)
        except InvalidEnvelope as exc:
            outcome = Dead(cast("DeadReason", exc.reason), str(exc))
            await self._settler.settle_unclaimed(received, outcome, readable_request_id(incoming.body))
            return None

    def _job(self, received: Received) -> Job:
        """Reads the body and the sender. Raises InvalidEnvelope."""
        incoming = received.incoming
        document = decode_queued(incoming.body)
        envelope = check_queued(document, self._channel)
        if has_unreadable_client(incoming.headers):
            raise InvalidEnvelope("invalid_envelope", [("header notify-client", CLIENT_RULE)])
        identity = Identity(
            envelope.request_id,
            received.state.client,
            message_hash(incoming.body, document, self._channel),
            lambda: (body_hash(incoming.body), body_hash(envelope.body_for(self._channel))),
        )
        claim = Claim(self._claims, received, identity, budget_s=self._budget_s, proceed=self._proceed)
        return Job(received, envelope, claim)

    async def _claim_and_attempt(self, job: Job, turn: Turn) -> HoldCause | None:
        try:
            answer = await job.claim.take()
            while answer.verdict == "held" and await self._turns.wait_for_another(job.key, turn):
                answer = await job.claim.take()
        except RedisUnavailable as exc:
            log.warning("redis_unavailable", **job.names, channel=self._channel, error=str(exc))
            return "redis"
        # From here on the time is Redis' time, also for the first message of this process.
        job.received.set_life(self._claims.now_ms())
        outcome: Outcome
        if answer.verdict != "yes":
            outcome = self._delivery.unclaimed(job, answer)
        elif is_poison(job.received.incoming):
            outcome = Dead("delivery_limit", "redelivered too often without being settled: it may crash its worker")
        else:
            outcome = await self._delivery.attempt(job)
        if not isinstance(outcome, Hold):
            await self._settler.settle(job, outcome)
            return None
        if outcome.cause != "redis":
            await job.claim.release()
        return outcome.cause

    async def _forward_after_bug(self, incoming: Incoming, error: Exception) -> None:
        """Forwards a message that met a bug: to the ladder, or to failed.queue after too many redeliveries."""
        if incoming.acked or incoming.is_void:
            # It is settled already, or the broker redelivers it.
            return
        received = Received.read(incoming, self._claims.now_ms)
        request_id = readable_request_id(incoming.body)
        if redeliveries(incoming) + 1 >= GIVE_UP_AT:
            outcome = Dead("delivery_limit", f"its handler failed: {error!r}")
            await self._settler.settle_unclaimed(received, outcome, request_id)
        else:
            failure = Failure("unexpected", repr(error), counted=False)
            retry = self._delivery.later(failure, received.state)
            await self._settler.settle_unclaimed(received, retry, request_id, extra_redeliveries=1)
