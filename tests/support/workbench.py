"""Runs a worker in this process, on a real broker and a real Redis, with providers that do what a test tells them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.broker import topology
from shared.broker.publisher import Publication, Publisher
from shared.clock import now_ms, rfc3339
from shared.idempotency.claims import Claims
from shared.message.channels import CHANNELS, OWN_ADDRESS, Lane, Priority
from shared.message.headers import DeliveryState
from shared.metrics import Metrics
from shared.providers.failover import Providers
from shared.providers.provider import Message, Provider
from shared.settings.load import load_settings
from shared.settings.settings import Settings
from shared.templates.library import HttpLibrary
from shared.users.directory import HttpDirectory
from shared.worker.run import assemble
from shared.worker.worker import Worker
from tests.support.publishing import publishing

Script = Callable[[Message], Awaitable[str]]


async def says_yes(_message: Message) -> str:
    return uuid.uuid4().hex


class ScriptedProvider:
    """Remembers every call. Each takes ``takes_s`` and then raises ``error``, or answers as ``script`` does."""

    def __init__(
        self,
        name: str = "fcm",
        script: Script = says_yes,
        *,
        error: Callable[[], Exception] | None = None,
        takes_s: float = 0.0,
    ) -> None:
        self.name = name
        self.error, self.takes_s = error, takes_s
        self.timeout_s = 2.0
        self.connections = 512
        self.script = script
        self.calls: list[str] = []
        self.targets: list[str] = []
        self.accepted: list[str] = []

    async def open(self) -> None:
        """Does nothing: there is nothing to open."""

    def prepare(self, message: Message) -> Message:
        return message

    async def send(self, request: Message) -> str:
        self.calls.append(request.request_id)
        self.targets.append(request.target)
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error()
        answer = await self.script(request)
        self.accepted.append(request.request_id)
        return answer

    async def close(self) -> None:
        """Does nothing: there is nothing to close."""


def quick_settings(amqp_url: str, redis_url: str, **overrides: Any) -> Settings:
    """Returns the product's settings with lease, ladder and breaker scaled down; ``overrides`` take precedence."""
    from pydantic import SecretStr

    return load_settings(
        env_file=None,
        **{
            "rabbitmq_url": SecretStr(amqp_url),
            "redis_url": SecretStr(redis_url),
            "retry_levels_s": (0.2, 0.5, 1.0, 2.0),
            "retry_base_s": 0.1,
            "retry_min_s": 0.1,
            "lease_s": 2.0,
            "handling_budget_s": 0.9,
            "shutdown_s": 5.0,
            "breaker_open_s": 0.5,
            "breaker_open_max_s": 1.0,
            "pause_probe_s": 0.1,
            "heartbeat_s": 0.2,
            **overrides,
        },
    )


@dataclass
class Bench:
    """Holds everything that a test needs of one running worker."""

    channel: str
    settings: Settings
    metrics: Metrics
    claims: Claims
    publisher: Publisher
    providers: Providers
    workers: list[Worker] = field(default_factory=list)
    runs: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def worker(self) -> Worker:
        return self.workers[0]

    def start(self) -> None:
        self.runs = [asyncio.create_task(worker.run()) for worker in self.workers]

    async def put(
        self,
        request_id: str = "",
        *,
        priority: Priority = "medium",
        headers: dict[str, Any] | None = None,
        body: bytes | None = None,
        **fields: Any,
    ) -> str:
        """Publishes one envelope directly to its lane."""
        rid = request_id or uuid.uuid4().hex
        lane = Lane(self.channel, priority)
        state = headers if headers is not None else DeliveryState(accepted_at=rfc3339(now_ms())).to_headers()
        payload = body if body is not None else envelope(self.channel, rid, **fields)
        await self.publisher.publish(Publication(topology.EXCHANGE, lane.routing_key, payload, state, rid))
        return rid

    async def ready(self, *queues: str) -> int:
        """Returns the number of messages ready in these queues together, by passive declare."""
        channel = await self.publisher.connection.channel()
        answers = [await channel.call(channel.raw.queue_declare, queue=queue, passive=True) for queue in queues]
        await channel.close()
        return sum(answer.method.message_count for answer in answers)

    async def failed(self) -> list[tuple[dict[str, Any], bytes]]:
        """Takes everything out of failed.queue. Returns (headers, body) of each message."""
        channel = await self.publisher.connection.channel()
        found = []
        while (answer := await channel.get(topology.FAILED_QUEUE)) is not None:
            method, properties, body = answer
            found.append((dict(properties.headers or {}), body))
            channel.raw.basic_ack(method.delivery_tag)
        await channel.close()
        return found

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def envelope(channel: str, request_id: str, **fields: Any) -> bytes:
    """Returns a valid envelope for ``channel`` with its own content and recipient; ``fields`` take precedence."""
    recipient = {"push_tokens": ["token-1"], "email": "a@example.org", "phone": "+15550001"}
    address = CHANNELS[channel].address
    document = {
        "request_id": request_id,
        "notification_type": channel,
        "content": {"title": "t", "body": "b"},
        # With a recipient, even an empty one, the directory is not asked.
        "recipient": {address: recipient[address]} if address in recipient else {},
        **({"user_id": "user-1"} if address == OWN_ADDRESS else {}),
        **fields,
    }
    return orjson.dumps({key: value for key, value in document.items() if value is not None})


@asynccontextmanager
async def running(
    settings: Settings,
    providers: Sequence[Provider[Any]],
    channel: str = "push",
    workers: int = 1,
    start: bool = True,
    metrics: Metrics | None = None,
) -> AsyncIterator[Bench]:
    """Yields a bench with ``workers`` workers that run in this loop until the block ends.

    ``metrics`` are those that the providers use, if they count something themselves.
    """
    metrics = metrics or Metrics()
    guarded = Providers.of(channel, providers, settings.breaker, metrics)
    async with (
        publishing(
            settings.broker.url, levels_s=settings.broker.retry_levels_s, deadline_s=5, channels=(channel,)
        ) as publisher,
        Claims(
            settings.redis.url,
            lease_s=settings.idempotency.lease_s,
            ttl_s=settings.idempotency.done_ttl_s,
            metrics=metrics,
        ) as claims,
        HttpDirectory(settings, metrics) as directory,
        HttpLibrary(settings, metrics) as templates,
    ):
        bench = Bench(channel, settings, metrics, claims, publisher, guarded)
        bench.workers = [
            assemble(
                channel,
                settings,
                providers=guarded,
                claims=claims,
                directory=directory,
                templates=templates,
                publisher=publisher,
                metrics=Metrics() if n else metrics,
                name=f"bench-{n}",
            )
            for n in range(workers)
        ]
        if start:
            bench.start()
        try:
            yield bench
        finally:
            for worker in bench.workers:
                worker.stop()
            await asyncio.gather(*bench.runs)
