"""Names every exchange and queue, and declares them; no other module declares anything.

A queue's arguments hold only what can never change: RabbitMQ refuses (406) to declare a queue again with other
arguments. Each lane has its own ladder, because the at-least-once dead-letter worker of a source queue stops at 32
unconfirmed messages: with a shared ladder one missing or full lane would stop the retries of all lanes.
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

#: the broker's own limit, as a backstop; the worker dead-letters earlier, at ``GIVE_UP_AT`` (``shared/worker/poison``)
DELIVERY_LIMIT = 20
#: an operator's look at failed.queue takes and requeues its messages, and each time counts as a delivery
FAILED_DELIVERY_LIMIT = 1_000_000

#: shortest time between the end of a queue and its new declaration, seconds. Measured on RabbitMQ 3.10: it tells the
#: consumers of a deleted queue about 20 ms later. If the queue exists again by then, it keeps them instead, and the
#: messages that it delivers to them never arrive
CONSUMERS_TOLD_S = 0.5

_RESOURCE_LOCKED, _PRECONDITION_FAILED = 405, 406


def level_name(level_s: float) -> str:
    """Returns the name of a level: ``1s 5s 15s 1m 5m 15m 1h``, or its milliseconds if it is not one of these seven."""
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
    """Declares everything that ``channels`` need; it may be repeated.

    Raises TopologyMismatch if a queue or exchange exists with other arguments (its text names the argument), and
    ChannelGone if the channel is lost.
    """
    raw = channel.raw
    lanes = [lane for name in channels for lane in lanes_of(name)]
    try:
        # Without a callback pika does not ask for an answer: a hundred methods cost one round trip, not a hundred.
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
        # The broker handles a channel's methods in order: this answer means that all methods before it are done.
        await channel.call(raw.exchange_declare, exchange=EXCHANGE, exchange_type="direct", durable=True)
    except ChannelGone as exc:
        if exc.code == _PRECONDITION_FAILED:
            raise TopologyMismatch(str(exc)) from exc
        raise


async def declare_lock(channel: AmqpChannel) -> None:
    """Declares the operators' lock, an exclusive queue that lasts as long as the channel's connection.

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
            raise Locked("another operation on failed.queue is in progress; try again when it has ended") from exc
        raise
