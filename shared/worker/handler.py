"""One message, from its bytes to its ack: decode, claim, try, settle.

The claim's answer is obeyed before a send; once something is to be handed on, it is handed on whatever the store says.
"""

from __future__ import annotations

from typing import cast

import structlog

from shared.broker.incoming import Incoming
from shared.delivery.delivery import Delivery
from shared.delivery.job import Job, read_life
from shared.delivery.retry_policy import Failure
from shared.errors import InvalidEnvelope, StoreUnavailable
from shared.idempotency.claim import Claim, ClaimLost
from shared.idempotency.claims import ClaimAnswer, Claims
from shared.idempotency.local_copies import Turn, Turns
from shared.message.envelope import parse_queued
from shared.message.outcome import Dead, DeadReason, Hold, HoldCause, Outcome, RetryReason
from shared.settings.settings import Settings
from shared.worker.poison import is_poison
from shared.worker.recorder import Recorder
from shared.worker.settler import Settler

log = structlog.get_logger(__name__)

#: the retry reason of a message that was held for a cause
_HELD_FOR: dict[HoldCause, RetryReason] = {
    "provider": "provider_unavailable",
    "users": "directory_unavailable",
    "templates": "templates_unavailable",
    "redis": "unexpected",
}


class Handler:
    """Handles messages of one channel; any number at a time."""

    def __init__(
        self, channel: str, delivery: Delivery, claims: Claims, recorder: Recorder, settler: Settler, settings: Settings
    ) -> None:
        self._channel = channel
        self._delivery = delivery
        self._claims = claims
        self._recorder = recorder
        self._settler = settler
        self._budget_s = settings.handling_budget_s
        self._proceed = settings.idempotency_on_redis_down == "proceed"
        self._turns = Turns()

    async def handle(self, incoming: Incoming) -> HoldCause | None:
        """Settle one message; or return why nothing can be done now: it is unclaimed, unacked, the caller's to keep."""
        job = await self._read(incoming)
        if job is None:
            return None
        turn = self._turns.enter(job.request_id)
        try:
            return await self._claim_and_try(job, turn)
        finally:
            self._turns.leave(job.request_id, turn)

    async def let_go(self, incoming: Incoming, cause: HoldCause) -> None:
        """Send a message that was held for long to the ladder: uncounted, without a claim, nothing recorded."""
        job = await self._read(incoming)
        if job is not None:
            failure = Failure(_HELD_FOR[cause], f"paused: {cause}", counted=False)
            await self._settler.send_away(job, self._delivery.later(failure, job))

    async def _read(self, incoming: Incoming) -> Job | None:
        """The job; None if it cannot be read: then it has been buried."""
        travel, accepted_ms = read_life(incoming)
        try:
            envelope = parse_queued(incoming.body, self._channel)
        except InvalidEnvelope as exc:
            await self._settler.bury(incoming, travel, accepted_ms, Dead(cast("DeadReason", exc.reason), str(exc)))
            return None
        claim = Claim(
            self._claims,
            channel=self._channel,
            request_id=envelope.request_id,
            token=incoming.token,
            replay=travel.replay,
            attempt=travel.attempt,
            body=incoming.body,
            redelivered=incoming.redelivered,
            budget_s=self._budget_s,
            proceed_without_store=self._proceed,
        )
        return Job(self._channel, incoming, envelope, travel, accepted_ms, claim)

    async def _claim_and_try(self, job: Job, turn: Turn) -> HoldCause | None:
        try:
            answer = await job.claim.take()
            while answer.verdict == "held" and await self._turns.wait_for_another(job.request_id, turn):
                answer = await job.claim.take()
            if answer.verdict != "yes":
                await self._refused(job, answer)
                return None
            outcome = await self._try(job)
        except ClaimLost as lost:
            await self._refused(job, lost.answer)
            return None
        except StoreUnavailable as exc:
            log.warning("store_unavailable", request_id=job.request_id, channel=self._channel, error=str(exc))
            return "redis"
        if isinstance(outcome, Hold):
            await self._recorder.release(job)
            return outcome.cause
        await self._settler.settle(job, outcome)
        return None

    async def _try(self, job: Job) -> Outcome:
        if is_poison(job.incoming):
            return Dead("delivery_limit", "given out again and again and never settled: it may kill its worker")
        try:
            return await self._delivery.attempt(job)
        except (ClaimLost, StoreUnavailable):
            raise
        except Exception as exc:
            # The one place that catches everything: a fault of ours must not lose the message, nor try for ever.
            log.exception("handling_failed_unexpectedly", request_id=job.request_id, channel=self._channel)
            return self._delivery.judge(Failure("unexpected", repr(exc), counted=True), job)

    async def _refused(self, job: Job, answer: ClaimAnswer) -> None:
        match answer.verdict:
            case "duplicate" | "stale":
                self._settler.drop_copy(job, answer.verdict)
            case "reused":
                error = "this request_id belongs to a message with another body"
                await self._settler.send_away(job, Dead("request_id_reused", error))
            case _:
                failure = Failure("claimed_elsewhere", "claimed elsewhere", counted=False, least_s=answer.lease_left_s)
                await self._settler.send_away(job, self._delivery.later(failure, job))
