"""The rule book: what becomes of one claimed message. It does no I/O of its own; what it needs is passed in.

1. Over its life: Dead ``expired``.
2. Where to: the recipient it names, else the user's own addresses and wishes.
3. What: the content it carries, else its template.
4. Keep the claim, send to each target that has not been served yet, and judge the answers together.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from shared.clock import now_ms
from shared.delivery.job import Job
from shared.delivery.retry_policy import Failure, RetryPolicy
from shared.delivery.sender import Answer, Sender
from shared.errors import SourceNotFound, SourceUnavailable, TemplateInvalid
from shared.message.channels import CHANNELS
from shared.message.outcome import Dead, Hold, Outcome, Retry, Sent, Skipped
from shared.message.privacy import digest
from shared.providers.provider import Content, Message
from shared.templates.library import Library
from shared.templates.render import render
from shared.users.directory import Directory

log = structlog.get_logger(__name__)

#: targets of one message that are sent to at the same time
TARGETS_AT_ONCE = 10


class ServedTokens(Protocol):
    """Which of a message's several targets have been served: kept, so that a retry sends to the others only.

    ``served_tokens`` raises StoreUnavailable; ``mark_token`` raises nothing: the provider has said yes by then.
    """

    async def served_tokens(self, request_id: str) -> set[str]: ...

    async def mark_token(self, request_id: str, token_digest: str) -> None: ...


class Delivery:
    """One channel's rule book."""

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
        self._sender = sender
        self._directory = directory
        self._templates = templates
        self._served = served
        self._policy = policy
        self._clock_ms = clock_ms
        self._draw = draw

    async def attempt(self, job: Job) -> Outcome:
        """Try once. Raises ClaimLost and StoreUnavailable (from the claim), and nothing else that is foreseen."""
        expires_ms = job.expires_ms(self._policy.life_s)
        if self._clock_ms() >= expires_ms:
            return Dead("expired", f"its life is over; {job.travel.last_error}".rstrip("; "))
        try:
            targets = await self._targets(job)
            content = await self._content(job) if isinstance(targets, list) else None
        except SourceUnavailable as exc:
            return self._without(exc, job, expires_ms)
        if not isinstance(targets, list):
            return targets
        if not isinstance(content, Content):
            return content or Dead("no_recipient")
        answer = await self._send(job, targets, content)
        return self.judge(answer, job, expires_ms) if isinstance(answer, Failure) else answer

    def judge(self, failure: Failure, job: Job, expires_ms: int | None = None) -> Outcome:
        """What follows a failure of this job: Retry or Dead."""
        until_ms = job.expires_ms(self._policy.life_s) if expires_ms is None else expires_ms
        return self._policy.after(failure, job.travel, self._clock_ms(), until_ms, self._draw())

    def later(self, failure: Failure, job: Job) -> Retry:
        """Another try of a copy that holds no claim, and so may not be ended."""
        return self._policy.later(failure, job.travel, self._draw())

    def _without(self, exc: SourceUnavailable, job: Job, expires_ms: int) -> Outcome:
        """A source is away: pause if its breaker says so, else try this message again later, uncounted."""
        users = exc.source == "users"
        if (self._directory if users else self._templates).is_open:
            return Hold("users" if users else "templates")
        reason = "directory_unavailable" if users else "templates_unavailable"
        return self.judge(Failure(reason, str(exc), counted=False), job, expires_ms)  # type: ignore[arg-type]

    async def _targets(self, job: Job) -> list[str] | Dead | Skipped:
        """Where to send; raises SourceUnavailable."""
        owner: Any = job.envelope.recipient
        if owner is None:
            try:
                owner = await self._directory.user(job.envelope.user_id or "")
            except SourceNotFound as exc:
                return Dead("user_not_found", str(exc))
            if not owner.wants(self._channel):
                return Skipped("opted_out")
        found = getattr(owner, self._address)
        targets = list(dict.fromkeys(found)) if isinstance(found, (list, tuple)) else [found] if found else []
        return targets or Dead("no_recipient", f"no {self._address} for this channel")

    async def _content(self, job: Job) -> Content | Dead:
        """What to send; raises SourceUnavailable."""
        given = job.envelope.content
        if given is not None:
            title = given.title or ""
            return Content(
                body=given.body,
                title=title,
                subject=given.subject or title,
                html=given.html or "",
                link=given.link or "",
                data=given.data or {},
            )
        try:
            template = await self._templates.get(job.envelope.template_code or "")
            return render(template, job.envelope.variables or {}, self._parts)
        except SourceNotFound as exc:
            return Dead("template_not_found", str(exc))
        except TemplateInvalid as exc:
            return Dead("template_error", str(exc))

    async def _send(self, job: Job, targets: Sequence[str], content: Content) -> Answer:
        if len(targets) == 1:
            await job.claim.keep(self._sender.timeout_s)
            return await self._send_one(job, targets[0], content)
        served = await self._served.served_tokens(job.request_id)
        answers: list[Answer] = [Sent("", "") for target in targets if digest(target) in served]
        waiting = [target for target in targets if digest(target) not in served]
        for first in range(0, len(waiting), TARGETS_AT_ONCE):
            group = waiting[first : first + TARGETS_AT_ONCE]
            await job.claim.keep(self._sender.timeout_s)
            answers += await asyncio.gather(*(self._send_and_mark(job, target, content) for target in group))
        return _together(answers, last=job.travel.attempt + 1 >= self._policy.max_attempts)

    async def _send_and_mark(self, job: Job, target: str, content: Content) -> Answer:
        answer = await self._send_one(job, target, content)
        if isinstance(answer, Sent):
            await self._served.mark_token(job.request_id, digest(target))
        return answer

    async def _send_one(self, job: Job, target: str, content: Content) -> Answer:
        message = Message(job.request_id, target, content, job.envelope.lane_priority)
        answer = await self._sender.send(message)
        if not isinstance(answer, Hold):
            job.called = True
        if isinstance(answer, Dead) and answer.reason == "recipient_invalid":
            log.warning("target_dead", channel=self._channel, request_id=job.request_id, target=digest(target))
        return answer


def _together(answers: Sequence[Answer], *, last: bool) -> Answer:
    """One answer for several targets: another try while one may help, else yes if anybody was served, else Dead."""
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    sent = next((answer for answer in reversed(answers) if isinstance(answer, Sent)), None)
    if failures:
        # The one that may come back latest, and counted if any of them was.
        worst = max(failures, key=lambda failure: (failure.counted, failure.least_s or 0.0))
        # Who was served is no reason to call it dead; an attempt that did not count was not the last.
        if not (last and worst.counted and sent):
            return worst
    hold = next((answer for answer in answers if isinstance(answer, Hold)), None)
    return hold or sent or answers[0]
