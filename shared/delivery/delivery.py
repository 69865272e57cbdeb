"""Decides the outcome of one claimed message (the rule book). It does no I/O itself; its collaborators are passed in.

1. If the life of the message is over, the outcome is Dead ``expired``.
2. The targets are the recipient that the message names, else the user's addresses, subject to the user's preferences.
   An inbox has the user's id for an address, so a user is looked up only for the preferences.
3. The content is what the message carries, else its rendered template.
4. It keeps the claim, sends to each target that has not been served yet, and combines the answers into one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence, Set
from typing import Any, Protocol

import structlog

from shared.clock import now_ms
from shared.delivery.job import Job
from shared.delivery.retry_policy import Failure, after_failure, retry_later
from shared.delivery.sender import Answer, Sender
from shared.errors import RedisUnavailable, SourceNotFound, SourceUnavailable, SourceUnreadable, TemplateInvalid
from shared.idempotency.claim import ClaimLost
from shared.idempotency.claims import ClaimAnswer
from shared.message.channels import CHANNELS, OWN_ADDRESS
from shared.message.headers import DeliveryState
from shared.message.outcome import Dead, Duplicate, Hold, Outcome, Retry, Sent, Skipped
from shared.message.privacy import digest
from shared.providers.provider import Content, Message, life_left_s
from shared.settings.groups.retry import RetryPolicy
from shared.templates.library import Library
from shared.templates.render import render
from shared.users.directory import Directory
from shared.users.user import User

log = structlog.get_logger(__name__)

#: Number of targets of one message to which it sends at the same time.
TARGETS_AT_ONCE = 10
#: A user whom the directory does not know has an inbox all the same, and has refused nothing.
_UNKNOWN = User(id="")


class ServedTokens(Protocol):
    """Remembers which of a message's several targets have been served, so that a retry sends to the others only.

    ``key`` is the request_id within its sender's namespace. ``served_tokens`` raises RedisUnavailable; ``mark_token``
    raises nothing, because the provider has accepted already.
    """

    async def served_tokens(self, key: str) -> set[str]: ...

    async def mark_token(self, key: str, token_digest: str) -> None: ...


class Delivery:
    """Applies the rule book to the messages of one channel. ``clock_ms`` tells the time by which lives end."""

    def __init__(
        self,
        channel: str,
        sender: Sender,
        directory: Directory,
        templates: Library,
        served: ServedTokens,
        policy: RetryPolicy,
        *,
        clock_ms: Callable[[], int] = now_ms,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._channel = channel
        self._address, self._parts = CHANNELS[channel].address, CHANNELS[channel].parts
        self._is_inbox = self._address == OWN_ADDRESS
        self._sender = sender
        self._directory = directory
        self._templates = templates
        self._served = served
        self._policy = policy
        self._clock_ms = clock_ms
        self._draw = draw

    async def attempt(self, job: Job) -> Outcome:
        """Tries a claimed message once and returns its outcome. Raises nothing except cancellation."""
        expires_ms = job.expires_ms(self._policy.life_s)
        answer: Answer | Skipped
        try:
            answer = await self._try(job, expires_ms)
        except ClaimLost as lost:
            return self.unclaimed(job, lost.answer)
        except RedisUnavailable as exc:
            log.warning("redis_unavailable", **job.names, channel=self._channel, error=str(exc))
            return Hold("redis")
        except SourceNotFound as exc:
            unknown_user = exc.source == "users"
            return Dead("user_not_found" if unknown_user else "template_not_found", str(exc))
        except SourceUnreadable as exc:
            return Dead("user_invalid" if exc.source == "users" else "template_error", str(exc))
        except TemplateInvalid as exc:
            return Dead("template_error", str(exc))
        except SourceUnavailable as exc:
            answer = self._source_unavailable(exc)
        except Exception as exc:
            # This is the one place that catches everything: a bug must neither lose the message nor retry it endlessly.
            log.exception("handling_failed_unexpectedly", **job.names, channel=self._channel)
            answer = Failure("unexpected", repr(exc), counted=True)
        if isinstance(answer, Failure):
            return after_failure(self._policy, answer, job.received.state, self._clock_ms(), expires_ms, self._draw())
        return answer

    def unclaimed(self, job: Job, answer: ClaimAnswer) -> Duplicate | Dead | Retry:
        """Returns the outcome of a copy whose claim was not granted. It has no claim, so it must not end a life."""
        match answer.verdict:
            case "duplicate" | "stale":
                return Duplicate(answer.verdict)
            case "reused":
                return Dead("request_id_reused", "this request_id was used with another body: choose a new one")
        failure = Failure("claimed_elsewhere", "claimed elsewhere", counted=False, least_s=answer.lease_left_s)
        return self.later(failure, job.received.state)

    def later(self, failure: Failure, state: DeliveryState) -> Retry:
        """Returns a retry for a copy that holds no claim; the attempt is not counted."""
        return retry_later(self._policy, failure, state, self._draw())

    async def _try(self, job: Job, expires_ms: int) -> Answer | Skipped:
        """Applies the rules. Raises ClaimLost, RedisUnavailable, TemplateInvalid, and the errors of a source."""
        if self._clock_ms() >= expires_ms:
            return Dead("expired", f"the life of the message is over; {job.received.state.last_error}".rstrip("; "))
        owner: Any = job.envelope.recipient
        if owner is None:
            try:
                owner = await self._directory.user(job.envelope.user_id or "")
            except SourceNotFound:
                if not self._is_inbox:
                    raise
                owner = _UNKNOWN
            if not owner.wants(self._channel):
                return Skipped("opted_out")
        targets = _each_once(getattr(job.envelope if self._is_inbox else owner, self._address))
        if not targets:
            return Dead("no_recipient", f"the recipient has no {self._address}")
        content = await self._content(job)
        if missing := _missing(content, self._parts):
            if job.envelope.content is None:
                raise TemplateInvalid("templates", missing)
            return Dead("payload_rejected", missing)
        if len(targets) > 1:
            return await self._send_to_all(job, targets, content, expires_ms)
        await job.claim.keep(self._sender.timeout_s)
        return await self._send(job, targets[0], content, expires_ms)

    def _source_unavailable(self, exc: SourceUnavailable) -> Hold | Failure:
        """Returns the answer when a source is unavailable: Hold if its breaker is open, else an uncounted Failure."""
        users = exc.source == "users"
        if (self._directory if users else self._templates).is_open:
            return Hold("users" if users else "templates")
        return Failure("directory_unavailable" if users else "templates_unavailable", str(exc), counted=False)

    async def _content(self, job: Job) -> Content:
        """Returns the content to send. Raises SourceNotFound, SourceUnavailable, TemplateInvalid."""
        given = job.envelope.content
        if given is None:
            template = await self._templates.get(job.envelope.template_code or "")
            return render(template, job.envelope.variables or {}, self._parts)
        title = given.title or ""
        return Content(
            body=given.body,
            title=title,
            subject=given.subject or title,
            html=given.html or "",
            link=given.link or "",
            data=given.data or {},
        )

    async def _send_to_all(self, job: Job, targets: Sequence[str], content: Content, expires_ms: int) -> Answer:
        """Sends to each target that has not been served yet, and combines the answers into one."""
        served = await self._served.served_tokens(job.key)
        answers: list[Answer] = [Sent("", "") for target in targets if digest(target) in served]
        waiting = [target for target in targets if digest(target) not in served]
        job.claim.count_sends(unanswered=min(TARGETS_AT_ONCE, len(waiting)), unserved=len(waiting))
        for first in range(0, len(waiting), TARGETS_AT_ONCE):
            group = waiting[first : first + TARGETS_AT_ONCE]
            await job.claim.keep(self._sender.timeout_s)
            sends = (self._send_and_mark(job, target, content, expires_ms) for target in group)
            # All sends of the group end before the error of one is raised.
            for answer in await asyncio.gather(*sends, return_exceptions=True):
                if isinstance(answer, BaseException):
                    raise answer
                answers.append(answer)
        return _combined(answers, last=job.received.state.attempt + 1 >= self._policy.max_attempts)

    async def _send_and_mark(self, job: Job, target: str, content: Content, expires_ms: int) -> Answer:
        answer = await self._send(job, target, content, expires_ms)
        if isinstance(answer, Sent):
            await self._served.mark_token(job.key, digest(target))
        return answer

    async def _send(self, job: Job, target: str, content: Content, expires_ms: int) -> Answer:
        envelope, received = job.envelope, job.received
        message = Message(
            envelope.request_id,
            target,
            content,
            envelope.lane_priority,
            life_left_s(expires_ms, self._clock_ms()),
            expires_ms // 1000,
            received.state.client,
            envelope.type,
            envelope.category,
            envelope.metadata,
            received.accepted_ms,
            None if envelope.expires_at is None or received.state.ignore_expiry else expires_ms,
        )
        answer = await self._sender.send(job, message, expires_ms)
        if isinstance(answer, Dead) and answer.reason == "recipient_invalid":
            log.warning("target_dead", channel=self._channel, **job.names, target=digest(target))
        return answer


def _each_once(found: Any) -> Sequence[str]:
    """Returns the addresses of a user or a recipient, who may have a list of them, one or none."""
    if isinstance(found, (list, tuple)):
        return found if len(found) == 1 else list(dict.fromkeys(found))
    return [found] if found else []


def _missing(content: Content, parts: Set[str]) -> str:
    """Returns what a person would miss in this content, or ''. ``parts`` are those that the channel shows."""
    mail = "subject" in parts
    if mail and not (content.subject or content.title):
        return "subject: the e-mail has neither a subject nor a title"
    if not (content.body.strip() or content.html.strip() or (not mail and content.title.strip())):
        return "body: the message has no text"
    return ""


def _combined(answers: Sequence[Answer], *, last: bool) -> Answer:
    """Combines the answers of several targets: Failure while a retry may help, else Sent if one was served, else Dead.

    ``last``: a counted failure now would be the last attempt. A Hold comes before Sent and Dead.
    """
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    sent = next((answer for answer in reversed(answers) if isinstance(answer, Sent)), None)
    if failures:
        # It is counted if any failure was counted; among those, the one with the longest wait counts.
        worst = max(failures, key=lambda failure: (failure.counted, failure.least_s or 0.0))
        # After the last attempt a message with a served target is not dead; an uncounted attempt is never the last.
        if not (last and worst.counted and sent):
            return worst
    hold = next((answer for answer in answers if isinstance(answer, Hold)), None)
    return hold or sent or answers[0]
