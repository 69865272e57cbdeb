"""Sends one message to one target, and reports the result to the provider's breaker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal

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

#: Time beyond its own timeout that a provider may need to give up, seconds.
GRACE_S = 1.0

Answer = Sent | Dead | Hold | Failure

#: The refusals after which a retry cannot help.
_DEAD: dict[Refusal, DeadReason] = {
    Refusal.RECIPIENT_INVALID: "recipient_invalid",
    Refusal.PAYLOAD_REJECTED: "payload_rejected",
}


class Sender:
    """Sends through the first provider whose breaker gives a permit.

    A provider never has more calls in progress than connections. Further calls wait here, before they take a permit
    and outside the provider's timeout: the wait is not the provider's fault and uses no attempt. ``clock_ms`` tells the
    time by which lives end.
    """

    def __init__(
        self, channel: str, providers: Providers, metrics: Metrics, clock_ms: Callable[[], int] = now_ms
    ) -> None:
        self._channel = channel
        self._providers = providers
        self._metrics = metrics
        self._clock_ms = clock_ms
        #: Longest time that one send takes, seconds.
        self.timeout_s = providers.timeout_s + GRACE_S

    async def send(self, job: Job, message: Message, expires_ms: int) -> Answer:
        """Makes exactly one call to one provider; returns Hold if none may be called now.

        It also returns Hold if it is cancelled while it waits for a connection, and never sends after ``expires_ms``.
        Raises ClaimLost and RedisUnavailable after a wait for a connection, and the error of a bug in a provider's
        ``prepare``; in these cases nothing was sent.
        """
        while (chosen := self._providers.choose()) is not None:
            provider, room = chosen.provider, chosen.room
            try:
                request = provider.prepare(message)
            except Refused as refused:
                # No call was made, so this counts neither as an attempt nor as a sign that the provider works.
                return Dead(_DEAD[refused.refusal], str(refused), provider.name)
            has_to_wait = room.locked()
            try:
                await room.acquire()
            except asyncio.CancelledError:
                # The worker stops, and nothing was sent: a held message is forwarded to the ladder, not redelivered.
                return Hold("provider")
            try:
                if has_to_wait:
                    if self._clock_ms() >= expires_ms:
                        return Dead(
                            "expired", "the life of the message ended before a connection was free", provider.name
                        )
                    await job.claim.keep(self.timeout_s)
                permit = chosen.breaker.permit()
                if permit is not None:
                    job.called = True
                    return await self._call(provider, permit, request, message.target)
                # The breaker has opened in the meantime: choose a provider again.
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
            # The worker's shutdown time was over: the provider may have accepted the message anyway.
            self._count_ambiguous(name)
            log.warning("send_cancelled", channel=self._channel, provider=name)
            raise
        except Exception as exc:
            permit.failure(time.monotonic() - began)
            log.exception("send_failed_unexpectedly", channel=self._channel, provider=name)
            self._count_ambiguous(name)
            return Failure("unexpected", repr(exc), True, name)
        permit.success(time.monotonic() - began)
        return Sent(name, provider_id)

    def _refused(self, name: str, permit: Permit, refused: Refused, target: str, took_s: float) -> Dead | Failure:
        """Settles the permit of a refused call, and returns what the refusal means for the message."""
        error, retry_after_s = str(refused), refused.retry_after_s
        if refused.ambiguous:
            self._count_ambiguous(name)
        elif refused.handed_over and refused.refusal not in _DEAD:
            self._count_ambiguous(name, "refused")
        match refused.refusal:
            case Refusal.RECIPIENT_INVALID | Refusal.PAYLOAD_REJECTED as refusal:
                # The provider works; it only refused this message.
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

    def _count_ambiguous(self, provider: str, why: Literal["no_answer", "refused"] = "no_answer") -> None:
        self._metrics.ambiguous.labels(self._channel, provider, why).inc()
