"""Makes failed messages for tests: as a worker writes them, and as the broker's own dead-lettering leaves them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any

import orjson
from pika import BasicProperties
from pydantic import SecretStr

from shared.broker import topology
from shared.broker.channel import AmqpChannel
from shared.broker.publisher import Publication, Publisher
from shared.clock import now_ms, rfc3339
from shared.failed.entry import failed_headers
from shared.message.channels import Lane
from shared.message.headers import DeliveryState
from shared.message.outcome import Dead, DeadReason
from shared.settings.load import load_settings
from shared.settings.settings import Settings
from tests.support.fakes.incoming import make_incoming
from tests.support.publishing import publishing
from tests.support.waiting import eventually_async

PUSH = Lane("push", "medium")
_numbers = itertools.count()


def settings_for(url: str, **overrides: Any) -> Settings:
    overrides = {"retry_levels_s": (1.0, 5.0), **overrides}
    return load_settings(env_file=None, rabbitmq_url=SecretStr(url), **overrides)


def push_body(request_id: str, **fields: Any) -> bytes:
    envelope = {
        "request_id": request_id,
        "notification_type": "push",
        "recipient": {"push_tokens": ["token-of-a-device"]},
        "content": {"title": "t", "body": "b"},
    }
    return orjson.dumps({**envelope, **fields})


def failed(
    request_id: str,
    *,
    reason: DeadReason = "attempts_exhausted",
    lane: Lane = PUSH,
    state: DeliveryState | None = None,
    body: bytes | None = None,
    **headers: Any,
) -> Publication:
    """Returns a message as a worker dead-letters it. ``headers`` replace its own (``notify_failed_at="..."``)."""
    if body is None:
        body = push_body(request_id, notification_type=lane.channel)
    incoming = make_incoming(body, priority=lane.priority, channel=lane.channel)
    incoming.message_id = f"m-{next(_numbers)}"
    outcome = Dead(reason, "fcm 503", "fcm", counted=True)
    written = failed_headers(incoming, state or DeliveryState(attempt=7), now_ms() - 60_000, outcome)
    written |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Publication(topology.FAILED_EXCHANGE, lane.routing_key, body, written, request_id)


def failed_before(age_s: float, request_id: str, **others: Any) -> Publication:
    return failed(request_id, notify_failed_at=rfc3339(now_ms() - round(age_s * 1000)), **others)


async def dead_letter(publisher: Publisher, messages: Iterable[Publication]) -> None:
    """Puts them into failed.queue."""
    assert set(await publisher.publish_all(list(messages))) <= {None}


def dead_letter_now(url: str, messages: Iterable[Publication]) -> None:
    """Puts them into failed.queue, for a test without an event loop."""

    async def publish() -> None:
        async with publishing(url) as publisher:
            await dead_letter(publisher, messages)

    asyncio.run(publish())


def counts(url: str, *queues: str) -> list[int]:
    """Returns the number of messages ready in each queue, for a test without an event loop."""

    async def look() -> list[int]:
        async with publishing(url) as publisher:
            channel = await publisher.connection.channel()
            return [await count(channel, queue) for queue in queues]

    return asyncio.run(look())


async def count(channel: AmqpChannel, queue: str = topology.FAILED_QUEUE) -> int:
    """Returns the number of messages ready in the queue."""
    answer = await channel.call(channel.raw.queue_declare, queue=queue, passive=True)
    return int(answer.method.message_count)


async def take_all(channel: AmqpChannel, queue: str) -> list[tuple[Any, Any, bytes]]:
    """Takes everything out of the queue and acks it. Returns (method, properties, body) of each message."""
    found = []
    while (got := await channel.get(queue)) is not None:
        channel.raw.basic_ack(got[0].delivery_tag)
        # The broker itself sets this header on everything that comes from a quorum queue.
        got[1].headers.pop("x-delivery-count", None)
        found.append(got)
    return found


async def only_from(channel: AmqpChannel, queue: str) -> tuple[Any, Any, bytes]:
    """Waits for a message in the queue and takes it; there must be no second one."""
    found: list[tuple[Any, Any, bytes]] = []

    async def arrived() -> bool:
        found.extend(await take_all(channel, queue))
        return bool(found)

    await eventually_async(arrived)
    [only] = found
    return only


class RawHeader:
    """Holds a header's value as it stands on the wire, its type's letter first: pika itself would never write it."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire

    def encode(self, pieces: list[bytes]) -> int:
        pieces.append(self._wire)
        return len(self._wire)


def publish_expiring(channel: AmqpChannel, key: str, body: bytes, within_ms: int) -> None:
    """Publishes as another service may: with an expiration, without headers, unconfirmed."""
    properties = BasicProperties(delivery_mode=2, expiration=str(within_ms))
    channel.raw.basic_publish(topology.EXCHANGE, key, body, properties)
