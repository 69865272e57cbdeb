"""Sends one message to one target: chooses a provider, calls it, and reports the result to its breaker and its pace.

Two rules hold for every vendor, because no table of codes is ever complete:

* Only a refusal that proves that the recipient or the content is at fault ends a message at the first provider. After
  any other permanent refusal, and after one that blames our account, the next provider is asked.
* Several permanent refusals in a row without such a proof, to different recipients and with no success between, speak
  for the account: the breaker opens, and no further message is given up (``shared/breaker/account``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import structlog

from shared.breaker.breaker import Permit
from shared.clock import now_ms
from shared.delivery.job import Job
from shared.delivery.retry_policy import Failure
from shared.errors import Refusal, Refused
from shared.message.outcome import Dead, DeadReason, Hold, RetryReason, Sent
from shared.metrics import Metrics
from shared.providers.failover import Guarded, Providers
from shared.providers.provider import Message, life_left_s

log = structlog.get_logger(__name__)

#: Time beyond its own timeout that a provider may need to give up, seconds.
GRACE_S = 1.0
#: A message that is refused because the account sends too fast waits here for its next turn, up to this long in all,
#: seconds. Then it goes to the ladder.
RESEND_S = 30.0

Answer = Sent | Dead | Hold | Failure

#: The reason in failed.queue for each permanent refusal.
_DEAD: dict[Refusal, DeadReason] = {
    Refusal.RECIPIENT_INVALID: "recipient_invalid",
    Refusal.PAYLOAD_REJECTED: "payload_rejected",
    Refusal.UNSUPPORTED: "provider_refused",
    Refusal.REJECTED: "provider_refused",
}


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """Says that the next provider is to be asked; ``answer`` holds if there is none."""

    answer: Dead | Failure


@dataclass(frozen=True, slots=True)
class _TooFast:
    """Says that the message may be sent again at its next turn; ``answer`` holds if there is no time for that."""

    answer: Failure


class Sender:
    """Sends through the first provider that may be called now.

    A provider never has more calls in progress than connections, and calls to it begin at the rate that it accepts.
    Further calls wait here, before they take a permit and outside the provider's timeout: the wait is not the
    provider's fault and uses no attempt. ``clock_ms`` tells the time by which lives end.
    """

    def __init__(
        self, channel: str, providers: Providers, metrics: Metrics, clock_ms: Callable[[], int] = now_ms
    ) -> None:
        self._channel = channel
        self._providers = providers
        self._metrics = metrics
        self._clock_ms = clock_ms
        #: Longest time that one call takes, seconds.
        self.timeout_s = providers.timeout_s + GRACE_S

    async def send(self, job: Job, message: Message, expires_ms: int) -> Answer:
        """Sends the message, so that at most one provider has accepted it; returns Hold if none may be called now.

        ``message`` says what is left of its life now; after a wait it is told anew.

        No further call is made after an ambiguous one. It also returns Hold if it is cancelled while it waits for its
        turn or a connection, and never sends after ``expires_ms``. Raises ClaimLost and RedisUnavailable before a call
        that does not follow at once, and the error of a bug in a provider's ``prepare``; in these cases nothing was
        accepted.
        """
        #: what the providers that were asked already have answered
        asked: dict[str, Dead | Failure] = {}
        resend_until: float | None = None
        while (chosen := self._providers.choose(asked)) is not None:
            name = chosen.provider.name
            answer = await self._try(chosen, job, message, expires_ms, later=bool(asked) or resend_until is not None)
            if isinstance(answer, _Elsewhere):
                asked[name] = answer.answer
            elif isinstance(answer, _TooFast):
                resend_until = resend_until or time.monotonic() + RESEND_S
                if time.monotonic() >= resend_until:
                    return answer.answer
            elif answer is not None:
                return answer
            # Else the breaker has opened in the meantime: choose a provider again.
        return self._nobody_left(asked)

    def _nobody_left(self, asked: dict[str, Dead | Failure]) -> Answer:
        """Returns what follows from the answers of all providers that could be asked."""
        if not asked:
            return Hold("provider")
        answers = list(asked.values())
        last = next((answer for answer in answers if isinstance(answer, Failure)), answers[-1])
        error = "; ".join(answer.error for answer in answers)
        if isinstance(last, Failure):
            return Failure(last.reason, error, last.counted, last.provider, last.least_s)
        if len(asked) < len(self._providers):
            return Failure("provider_unavailable", f"{error}; no other provider is available", True, last.provider)
        return Dead(last.reason, error, last.provider, counted=any(answer.counted for answer in answers))

    async def _try(
        self, chosen: Guarded, job: Job, message: Message, expires_ms: int, *, later: bool
    ) -> Answer | _Elsewhere | _TooFast | None:
        """Waits until the provider may be called, and calls it once; returns None if its breaker has opened by then.

        ``later``: it is not the first call in this handling, so time has passed.
        """
        provider, room = chosen.provider, chosen.room
        try:
            request = provider.prepare(self._with_life(message, expires_ms) if later else message)
        except Refused as refused:
            # No call was made, so this counts neither as an attempt nor as a sign that the provider works.
            dead = Dead(_DEAD[refused.refusal], str(refused), provider.name)
            return dead if refused.refusal.proven else _Elsewhere(dead)
        try:
            has_to_wait = not chosen.pace.is_free and await chosen.pace.turn(message.priority)
            has_to_wait |= room.locked()
            await room.acquire()
        except asyncio.CancelledError:
            # The worker stops, and nothing was sent: a held message is forwarded to the ladder, not redelivered.
            return Hold("provider")
        try:
            if has_to_wait or later:
                if self._clock_ms() >= expires_ms:
                    return Dead("expired", "the life of the message ended before it could be sent", provider.name)
                await job.claim.keep(self.timeout_s)
                # The vendor is told what is left of the life after the wait.
                request = provider.prepare(self._with_life(message, expires_ms))
            permit = chosen.breaker.permit()
            if permit is None:
                return None
            job.called = True
            return await self._call(chosen, permit, request, message)
        finally:
            room.release()

    def _with_life(self, message: Message, expires_ms: int) -> Message:
        """Returns the message as it is to be sent now, after a wait, with what is left of its life."""
        return replace(message, life_s=life_left_s(expires_ms, self._clock_ms()))

    async def _call(
        self, chosen: Guarded, permit: Permit, request: Any, message: Message
    ) -> Answer | _Elsewhere | _TooFast:
        name = chosen.provider.name
        began = time.monotonic()
        try:
            provider_id = await chosen.provider.send(request)
        except Refused as refused:
            return self._refused(chosen, permit, refused, message, began)
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
        ended = time.monotonic()
        permit.success(ended - began, message.target)
        chosen.pace.passed(ended)
        return Sent(name, provider_id)

    def _refused(
        self, chosen: Guarded, permit: Permit, refused: Refused, message: Message, began: float
    ) -> Dead | Failure | _Elsewhere | _TooFast:
        """Returns what a refused call means for the message, and counts the call if it may cause a second send."""
        answer = self._judged(chosen, permit, refused, message, began)
        if refused.ambiguous:
            self._count_ambiguous(chosen.provider.name)
        elif refused.handed_over and self._may_be_sent_again(answer):
            self._count_ambiguous(chosen.provider.name, "refused")
        return answer

    def _may_be_sent_again(self, answer: Dead | Failure | _Elsewhere | _TooFast) -> bool:
        if isinstance(answer, _Elsewhere) and len(self._providers) == 1:
            answer = answer.answer
        return not isinstance(answer, Dead)

    def _judged(
        self, chosen: Guarded, permit: Permit, refused: Refused, message: Message, began: float
    ) -> Dead | Failure | _Elsewhere | _TooFast:
        """Settles the permit of a refused call, and returns what the refusal means for the message."""
        name, took_s = chosen.provider.name, time.monotonic() - began
        error, retry_after_s = str(refused), refused.retry_after_s
        match refused.refusal:
            case Refusal.RECIPIENT_INVALID | Refusal.PAYLOAD_REJECTED as refusal:
                permit.refused(took_s)
                return Dead(_DEAD[refusal], error, name, counted=True)
            case Refusal.UNSUPPORTED as refusal:
                permit.refused(took_s)
                return _next(refused, Dead(_DEAD[refusal], error, name, counted=True))
            case Refusal.REJECTED as refusal:
                if permit.rejected(message.target, message.request_id, took_s):
                    return _next(refused, self._account_refused(name, error, "misconfigured"))
                return _next(refused, Dead(_DEAD[refusal], error, name, counted=True))
            case Refusal.THROTTLED | Refusal.RATE_EXCEEDED | Refusal.QUOTA_EXCEEDED:
                return self._throttled(chosen, permit, refused, message.target, began)
            case Refusal.CREDENTIALS:
                if not permit.misconfigured(message.target):
                    return _next(refused, Failure("misconfigured", error, True, name))
                return _next(refused, self._account_refused(name, error, "misconfigured"))
            case Refusal.RECIPIENT_TEMPORARY:
                permit.neither()
            case Refusal.UNAVAILABLE:
                permit.failure(took_s)
        return Failure("provider_unavailable", error, True, name, retry_after_s)

    def _throttled(
        self, chosen: Guarded, permit: Permit, refused: Refused, target: str, began: float
    ) -> Dead | Failure | _Elsewhere | _TooFast:
        """Settles the permit of a call that was refused because of a rate or a quota."""
        name, error, retry_after_s = chosen.provider.name, str(refused), refused.retry_after_s
        if refused.refusal is Refusal.QUOTA_EXCEEDED:
            if not permit.exhausted(target, retry_after_s):
                return _next(refused, Failure("throttled", error, True, name, retry_after_s))
            return _next(refused, self._account_refused(name, error, "throttled", retry_after_s))
        whole_provider = refused.refusal is Refusal.RATE_EXCEEDED
        if not permit.throttled(target, retry_after_s, whole_provider=whole_provider):
            return Failure("throttled", error, True, name, retry_after_s)
        self._metrics.throttled.labels(self._channel, name).inc()
        if chosen.pace.refused(began, time.monotonic()):
            log.warning(
                "provider_rate_limited", channel=self._channel, provider=name, per_s=round(chosen.pace.limit_per_s(), 1)
            )
        failure = Failure("throttled", error, False, name, retry_after_s)
        if whole_provider and retry_after_s is None and not refused.ambiguous:
            return _TooFast(failure)
        return _next(refused, failure)

    def _account_refused(
        self, name: str, error: str, reason: RetryReason, retry_after_s: float | None = None
    ) -> Failure:
        """Returns the failure of a message that was refused for the account's sake: it uses no attempt."""
        log.error(
            "credentials_refused" if reason == "misconfigured" else "quota_used_up",
            channel=self._channel,
            provider=name,
            error=error,
        )
        return Failure(reason, error, False, name, retry_after_s)

    def _count_ambiguous(self, provider: str, why: Literal["no_answer", "refused"] = "no_answer") -> None:
        self._metrics.ambiguous.labels(self._channel, provider, why).inc()


def _next(refused: Refused, answer: Dead | Failure) -> Dead | Failure | _Elsewhere:
    """Lets the next provider be asked, unless this one may have accepted the message: then an attempt is used up."""
    if not refused.ambiguous:
        return _Elsewhere(answer)
    return replace(answer, counted=True)
