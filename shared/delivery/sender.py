"""Sends one message to one target, and tells the provider's breaker what came of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog

from shared.breaker.breaker import Permit
from shared.clock import now_ms
from shared.delivery.job import Job
from shared.delivery.retry_policy import Failure
from shared.errors import Refusal, Refused
from shared.message.outcome import Dead, DeadReason, Hold, Sent
from shared.metrics import Metrics
from shared.providers.failover import Providers
from shared.providers.provider import Message, Provider

log = structlog.get_logger(__name__)

#: what a provider may take beyond its own timeout to give up, seconds
GRACE_S = 1.0

Answer = Sent | Dead | Hold | Failure

#: the refusals after which another try cannot help
_DEAD: dict[Refusal, DeadReason] = {
    Refusal.RECIPIENT_INVALID: "recipient_invalid",
    Refusal.PAYLOAD_REJECTED: "payload_rejected",
}


class Sender:
    """Sends through the first provider whose breaker gives a permit.

    No more calls are at work at a provider than it has connections. Further ones wait here, before they take a permit
    and outside the provider's timeout: waiting is not the provider's fault and spends no attempt.
    """

    def __init__(self, channel: str, providers: Providers, metrics: Metrics) -> None:
        self._channel = channel
        self._providers = providers
        self._metrics = metrics
        #: longest that one send takes, seconds
        self.timeout_s = providers.timeout_s + GRACE_S

    async def send(self, job: Job, message: Message, expires_ms: int) -> Answer:
        """Make exactly one call to one provider; Hold if none may be called now. Never sends after ``expires_ms``.

        A cancellation that comes while it waits for a connection gives Hold too.

        Raises ClaimLost and RedisUnavailable, after having waited for a connection, and what a bug in a provider's
        ``prepare`` raises; then nothing was sent.
        """
        while (chosen := self._providers.choose()) is not None:
            provider, room = chosen.provider, chosen.room
            try:
                request = provider.prepare(message)
            except Refused as refused:
                # No call was made: it counts neither as an attempt nor as a sign of life.
                return Dead(_DEAD[refused.refusal], str(refused), provider.name)
            has_to_wait = room.locked()
            try:
                await room.acquire()
            except asyncio.CancelledError:
                # The worker stops, and nothing was sent: as a held message it is forwarded, not merely redelivered.
                return Hold("provider")
            try:
                if has_to_wait:
                    if now_ms() >= expires_ms:
                        return Dead("expired", "its life ended while it waited for a connection", provider.name)
                    await job.claim.keep(self.timeout_s)
                permit = chosen.breaker.permit()
                if permit is not None:
                    job.called = True
                    return await self._call(provider, permit, request, message.target)
                # The breaker has opened in the meantime: choose again.
            finally:
                room.release()
        return Hold("provider")

    async def _call(self, provider: Provider[Any], permit: Permit, request: Any, target: str) -> Answer:
        name = provider.name
        began = time.monotonic()
        try:
            provider_id = await provider.send(request)
        except Refused as refused:
            return self._refused(name, permit, refused, target, time.monotonic() - began)
        except asyncio.CancelledError:
            permit.neither()
            # A stop that would not wait: the provider may have it all the same.
            self._count_ambiguous(name)
            log.warning("send_cut_short", channel=self._channel, provider=name)
            raise
        except Exception as exc:
            permit.failure(time.monotonic() - began)
            log.exception("send_failed_unexpectedly", channel=self._channel, provider=name)
            self._count_ambiguous(name)
            return Failure("unexpected", repr(exc), True, name)
        permit.success(time.monotonic() - began)
        return Sent(name, provider_id)

    def _refused(self, name: str, permit: Permit, refused: Refused, target: str, took_s: float) -> Dead | Failure:
        """Settle the permit of a call that was refused, and say what that means for the message."""
        error, retry_after_s = str(refused), refused.retry_after_s
        if refused.ambiguous:
            self._count_ambiguous(name)
        match refused.refusal:
            case Refusal.RECIPIENT_INVALID | Refusal.PAYLOAD_REJECTED as refusal:
                # The provider did its work.
                permit.success(took_s)
                return Dead(_DEAD[refusal], error, name, counted=True)
            case Refusal.THROTTLED | Refusal.QUOTA_EXCEEDED as refusal:
                permit.throttled(target, retry_after_s, whole_provider=refusal is Refusal.QUOTA_EXCEEDED)
                return Failure("throttled", error, True, name, retry_after_s)
            case Refusal.CREDENTIALS:
                permit.misconfigured()
                log.error("credentials_refused", channel=self._channel, provider=name, error=error)
                return Failure("misconfigured", error, False, name)
            case Refusal.RECIPIENT_TEMPORARY:
                permit.neither()
            case Refusal.UNAVAILABLE:
                permit.failure(took_s)
        return Failure("provider_unavailable", error, True, name, retry_after_s)

    def _count_ambiguous(self, provider: str) -> None:
        self._metrics.ambiguous.labels(self._channel, provider).inc()
