"""Names every exchange and queue, and declares them; no other module declares anything.

Only what can never change is an argument: RabbitMQ refuses (406) to declare a queue again with other arguments.
A lane has a ladder of its own, because the at-least-once dead-letter worker of a source queue stops at 32 unconfirmed
messages: one missing or full lane would stop the retries of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shared.broker.channel import AmqpChannel, ChannelGone
from shared.errors import Locked, TopologyMismatch
from shared.message.channels import CHANNELS, Lane, lanes_of

EXCHANGE = "notifications.direct"
FAILED_EXCHANGE = "notifications.failed"
FAILED_QUEUE = "failed.queue"
LOCK_QUEUE = "notifications.failed.lock"

#: the broker's backstop; the worker itself dead-letters at ``GIVE_UP_AT`` (``shared/worker/poison``)
DELIVERY_LIMIT = 20
#: operators look at failed.queue by taking and returning messages, which counts as deliveries
FAILED_DELIVERY_LIMIT = 1_000_000

#: least time between a queue's end and its new declaration, seconds. Measured on RabbitMQ 3.10: it tells its
#: consumers of the end some 20 ms later; if the queue is back by then it keeps them instead, and what it delivers to
#: them never arrives
CONSUMERS_TOLD_S = 0.5

_RESOURCE_LOCKED, _PRECONDITION_FAILED = 405, 406


def level_name(level_s: float) -> str:
    """``1s 5s 15s 1m 5m 15m 1h``; a level that is not one of the seven is named by its milliseconds."""
    names = {1: "1s", 5: "5s", 15: "15s", 60: "1m", 300: "5m", 900: "15m", 3600: "1h"}
    return names.get(level_s, f"{round(level_s * 1000)}ms")  # type: ignore[call-overload, no-any-return]


def retry_exchange(level_s: float) -> str:
    return f"notifications.retry.{level_name(level_s)}"


def retry_queue(lane: Lane, level_s: float) -> str:
    return f"retry.{lane.routing_key}.{level_name(level_s)}.queue"


def lane_arguments() -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": FAILED_EXCHANGE,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def retry_arguments(level_s: float) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": round(level_s * 1000),
        "x-dead-letter-exchange": EXCHANGE,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def failed_arguments() -> dict[str, Any]:
    return {"x-queue-type": "quorum", "x-delivery-limit": FAILED_DELIVERY_LIMIT}


async def declare(channel: AmqpChannel, levels_s: Sequence[float], channels: Iterable[str] = tuple(CHANNELS)) -> None:
    """Declare everything that ``channels`` need, idempotently.

    Raises TopologyMismatch if something exists with other arguments (its text names the argument), ChannelGone
    if the channel is lost.
    """
    raw = channel.raw
    lanes = [lane for name in channels for lane in lanes_of(name)]
    try:
        # Without callbacks pika sends nowait methods: a hundred of them cost one round trip, not a hundred.
        raw.exchange_declare(EXCHANGE, "direct", durable=True)
        raw.exchange_declare(FAILED_EXCHANGE, "fanout", durable=True)
        raw.queue_declare(FAILED_QUEUE, durable=True, arguments=failed_arguments())
        raw.queue_bind(FAILED_QUEUE, FAILED_EXCHANGE)
        for lane in lanes:
            raw.queue_declare(lane.queue, durable=True, arguments=lane_arguments())
            raw.queue_bind(lane.queue, EXCHANGE, lane.routing_key)
        for level_s in levels_s:
            raw.exchange_declare(retry_exchange(level_s), "direct", durable=True)
            for lane in lanes:
                queue = retry_queue(lane, level_s)
                raw.queue_declare(queue, durable=True, arguments=retry_arguments(level_s))
                raw.queue_bind(queue, retry_exchange(level_s), lane.routing_key)
        # The broker works through a channel's methods in order: this answer means that all before are done.
        await channel.call(raw.exchange_declare, exchange=EXCHANGE, exchange_type="direct", durable=True)
    except ChannelGone as exc:
        if exc.code == _PRECONDITION_FAILED:
            raise TopologyMismatch(str(exc)) from exc
        raise


async def declare_lock(channel: AmqpChannel) -> None:
    """Declare the operators' lock, an exclusive queue that lasts as long as the channel's connection.

    Raises Locked if another connection holds it (the broker then closes the channel), ChannelGone, TimeoutError.
    """
    try:
        await channel.call(
            channel.raw.queue_declare,
            queue=LOCK_QUEUE,
            exclusive=True,
            arguments={"x-queue-type": "classic"},
        )
    except ChannelGone as exc:
        if exc.code == _RESOURCE_LOCKED:
            raise Locked("another operation on failed.queue is under way") from exc
        raise
