"""Names every exchange and queue, and declares them; no other module declares anything.

A queue's arguments hold only what can never change: RabbitMQ refuses (406) to declare a queue again with other
arguments. Each lane has its own ladder, because the at-least-once dead-letter worker of a source queue stops at 32
unconfirmed messages: with a shared ladder one missing or full lane would stop the retries of all lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
#: how RabbitMQ's text begins that names an argument which differs (``rabbit_misc:assert_args_equivalence``)
_OTHER_ARGUMENTS = "inequivalent arg"


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


@dataclass(frozen=True, slots=True)
class Part:
    """Describes one exchange, or one queue with its binding. ``write`` sends its declaration and awaits no answer."""

    name: str
    write: Callable[[Any], None]


def parts(levels_s: Sequence[float], channels: Iterable[str] = tuple(CHANNELS)) -> list[Part]:
    """Lists everything that ``channels`` need: exchanges before the queues that are bound to them."""
    lanes = [lane for name in channels for lane in lanes_of(name)]
    retry_queues = [
        _queue(retry_queue(lane, level_s), retry_arguments(level_s), retry_exchange(level_s), lane.routing_key)
        for level_s in levels_s
        for lane in lanes
    ]
    return [
        _exchange(EXCHANGE, "direct"),
        _exchange(FAILED_EXCHANGE, "fanout"),
        *(_exchange(retry_exchange(level_s), "direct") for level_s in levels_s),
        _queue(FAILED_QUEUE, failed_arguments(), FAILED_EXCHANGE),
        *(_queue(lane.queue, lane_arguments(), EXCHANGE, lane.routing_key) for lane in lanes),
        *retry_queues,
    ]


def _exchange(name: str, kind: str) -> Part:
    # Without a callback pika does not ask for an answer: a hundred methods cost one round trip, not a hundred.
    return Part(name, lambda raw: raw.exchange_declare(name, kind, durable=True))


def _queue(name: str, arguments: dict[str, Any], exchange: str, routing_key: str = "") -> Part:
    def write(raw: Any) -> None:
        raw.queue_declare(name, durable=True, arguments=arguments)
        raw.queue_bind(name, exchange, routing_key)

    return Part(name, write)


async def declare(channel: AmqpChannel, levels_s: Sequence[float], channels: Iterable[str] = tuple(CHANNELS)) -> None:
    """Declares everything that ``channels`` need; it may be repeated. Raises as ``declare_parts``."""
    await declare_parts(channel, parts(levels_s, channels))


async def declare_parts(channel: AmqpChannel, wanted: Iterable[Part]) -> None:
    """Declares these parts, in order.

    Raises TopologyMismatch if a queue or exchange exists with other arguments (its text names the argument), and
    ChannelGone if the channel is lost: with a code if the broker refused a part, and then none after it is declared.
    """
    try:
        for part in wanted:
            part.write(channel.raw)
        # The broker handles a channel's methods in order: this answer means that all methods before it are done. It
        # changes nothing, and needs no permission.
        await channel.call(channel.raw.basic_qos, prefetch_count=0)
    except ChannelGone as exc:
        # 406 has other reasons too, for example a limit of queues, which say nothing about the existing queues.
        if exc.code == _PRECONDITION_FAILED and _OTHER_ARGUMENTS in str(exc):
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
