"""Fakes the parts that a worker works with; one journal records the order of everything that happened."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.broker.publisher import Publication, Publisher
from shared.clock import now_ms, rfc3339
from shared.delivery.delivery import Delivery
from shared.delivery.job import Job
from shared.delivery.sender import Sender
from shared.errors import PublishFailed, PublishUnroutable, RedisUnavailable, SourceNotFound, SourceUnavailable
from shared.idempotency.claim import Claim
from shared.idempotency.claims import ClaimAnswer
from shared.message.channels import Priority
from shared.message.envelope import parse_queued
from shared.message.headers import DeliveryState
from shared.message.identity import Identity, body_hash
from shared.message.incoming import Received
from shared.metrics import Metrics
from shared.providers.failover import Providers
from shared.providers.provider import Message, Provider
from shared.settings.groups.breaker import BreakerPolicy
from shared.settings.groups.retry import RetryPolicy
from shared.templates.template import Template
from shared.users.user import User
from tests.support.fakes.incoming import make_incoming

#: It allows eight attempts in a life of one day; with a draw of 0.5 the first wait is 5 s.
POLICY = RetryPolicy(base_s=10, cap_s=900, min_s=1, max_attempts=8, life_s=86_400)
YES = ClaimAnswer("yes")


class JournalBook:
    """Fakes an ack book that writes into the journal."""

    def __init__(self, journal: list[str]) -> None:
        self._journal = journal
        self.is_open = True

    def ack(self, _tag: int) -> None:
        self._journal.append("ack")


class ScriptedClaims:
    """Answers claims by ``answers`` ("yes" once they are used up); while ``away`` is set everything raises."""

    def __init__(self, journal: list[str]) -> None:
        self._journal = journal
        self.answers: deque[ClaimAnswer] = deque()
        self.away = False
        self.served: set[str] = set()
        #: how far Redis' clock is ahead of this machine's
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return now_ms() + self.ahead_ms

    def count(self, doubt: str, sends: int) -> None:
        self._write(f"{sends} more by {doubt}")

    async def claim(self, *_: Any) -> ClaimAnswer:
        self._write("claim")
        return self.answers.popleft() if self.answers else YES

    async def done(self, _channel: str, _rid: str, _token: str, _hash: str, provider: str, provider_id: str) -> None:
        self._write(f"done {provider} {provider_id}".rstrip())

    async def forwarded(self, _channel: str, _rid: str, _token: str, replay: int, n: int | str) -> None:
        self._write(f"handed on {n} of life {replay}")

    async def release(self, *_: Any) -> None:
        self._write("release")

    async def served_tokens(self, _rid: str) -> set[str]:
        return set(self.served)

    async def mark_token(self, _rid: str, token_digest: str) -> None:
        self.served.add(token_digest)

    def _write(self, line: str) -> None:
        self._journal.append(line if not self.away else f"{line}: away")
        if self.away:
            raise RedisUnavailable("away")


class ScriptedPublisher(Publisher):
    """Confirms each publication whose exchange is not ``missing``, after it has raised each of ``failures`` once."""

    def __init__(self, journal: list[str]) -> None:
        self._journal = journal
        self.failures: deque[PublishFailed] = deque()
        self.missing: set[str] = set()
        self.tried: list[Publication] = []
        self.confirmed: list[Publication] = []

    async def publish(self, publication: Publication, deadline_s: float | None = None) -> None:
        self.tried.append(publication)
        if self.failures:
            self._journal.append("not confirmed")
            raise self.failures.popleft()
        if publication.exchange in self.missing:
            raise PublishUnroutable(publication.exchange)
        self.confirmed.append(publication)
        self._journal.append(f"confirmed {publication.exchange}")


class ScriptedProvider:
    """Accepts, unless the target has its own answer: an error to raise, or ``None`` for no answer ever."""

    timeout_s = 5.0

    def __init__(self, connections: int = 512, name: str = "fcm") -> None:
        self.name = name
        self.connections = connections
        self.messages: list[Message] = []
        self.answers: dict[str, BaseException | None] = {}
        #: targets for which no request can be prepared, with the error to raise
        self.unpreparable: dict[str, Exception] = {}
        #: each answer waits for this event
        self.gate: asyncio.Event | None = None
        self.at_work = self.most_at_work = 0

    @property
    def targets(self) -> list[str]:
        return [message.target for message in self.messages]

    async def open(self) -> None:
        """Does nothing: there is nothing to open."""

    def prepare(self, message: Message) -> Message:
        if message.target in self.unpreparable:
            raise self.unpreparable[message.target]
        return message

    async def send(self, request: Message) -> str:
        self.messages.append(request)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            return await self._answer(request)
        finally:
            self.at_work -= 1

    async def _answer(self, message: Message) -> str:
        if self.gate is not None:
            await self.gate.wait()
        if message.target in self.answers:
            error = self.answers[message.target]
            if error is None:
                await asyncio.Event().wait()
            else:
                raise error
        return f"id-of-{message.target}"

    async def close(self) -> None:
        """Does nothing: there is nothing to close."""


@dataclass
class ScriptedSource:
    """Fakes the directory or the templates: it answers by key, or is unavailable."""

    name: str
    entries: dict[str, Any] = field(default_factory=dict)
    away: bool = False
    is_open: bool = False
    asked: list[str] = field(default_factory=list)

    async def get(self, key: str) -> Any:
        self.asked.append(key)
        if self.away:
            raise SourceUnavailable(self.name, f"{self.name}: 503")
        if key not in self.entries:
            raise SourceNotFound(self.name, f"{self.name}: there is no such entry")
        return self.entries[key]

    user = get


class Bench:
    """Holds the rule book of one channel among fakes, with ``real`` providers if there are some."""

    def __init__(
        self,
        channel: str = "push",
        policy: RetryPolicy = POLICY,
        connections: int = 512,
        *,
        claims: Any = None,
        with_second: bool = False,
        real: Sequence[Provider[Any]] = (),
    ) -> None:
        self.channel = channel
        self.journal: list[str] = []
        self.claims: Any = claims or ScriptedClaims(self.journal)
        self.provider = ScriptedProvider(connections)
        #: The next provider; it is used only ``with_second``.
        self.second = ScriptedProvider(connections, "fcm2")
        self.metrics = Metrics()
        made = real or ([self.provider, self.second] if with_second else [self.provider])
        self.providers = Providers.of(channel, made, BreakerPolicy(), self.metrics)
        users = {"ada": User(id="ada", push_tokens=("t1",), email="ada@example.org", phone="+15550100")}
        templates = {"HELLO": Template(code="HELLO", title="Hello {{ name }}", body="{{ name }}, look: {{ link }}")}
        self.users = ScriptedSource("users", users)
        self.templates = ScriptedSource("templates", templates)
        directory: Any = self.users
        texts: Any = self.templates
        clock_ms = self.claims.now_ms
        sender = Sender(channel, self.providers, self.metrics, clock_ms)
        self.delivery = Delivery(
            channel, sender, directory, texts, self.claims, policy, clock_ms=clock_ms, draw=lambda: 0.5
        )

    @property
    def ambiguous(self) -> dict[str, float]:
        """Returns how many sends were counted that the provider may have accepted, by their reason."""
        (metric,) = [m for m in self.metrics.registry.collect() if m.name == "notify_ambiguous"]
        return {sample.labels["why"]: sample.value for sample in metric.samples if sample.name.endswith("_total")}

    def job(
        self,
        *,
        state: DeliveryState | None = None,
        headers: dict[str, Any] | None = None,
        lane: Priority = "medium",
        budget_s: float = 25,
        **fields: Any,
    ) -> Job:
        """Returns a claimed message, accepted now, for ``ada`` with its own content unless ``fields`` say otherwise."""
        document = {
            "request_id": "r-1",
            "notification_type": self.channel,
            **({} if "recipient" in fields else {"user_id": "ada"}),
            **({} if "template_code" in fields else {"content": {"title": "t", "body": "b"}}),
            **fields,
        }
        body = orjson.dumps(document)
        travels = state or DeliveryState(accepted_at=rfc3339(now_ms()))
        book: Any = JournalBook(self.journal)
        incoming = make_incoming(
            body,
            channel=self.channel,
            priority=lane,
            headers={**travels.to_headers(), **(headers or {})},
            book=book,
        )
        received = Received.read(incoming)
        envelope = parse_queued(body, self.channel)
        identity = Identity(envelope.request_id, received.state.client, body_hash(body), tuple)
        claim = Claim(self.claims, received, identity, budget_s=budget_s, proceed=False)
        claim.held = True
        return Job(received, envelope, claim)
