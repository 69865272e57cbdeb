"""Names every exchange and queue, and declares them; no other module declares anything.

A queue's arguments hold only what can never change: RabbitMQ refuses (406) to declare a queue again with other
arguments. Each lane has its own ladder, because the at-least-once dead-letter worker of a source queue stops at 32
unconfirmed messages: with a shared ladder one missing or full lane would stop the retries of all lanes.

A message with an unknown routing key goes to failed.queue by the alternate exchange of EXCHANGE. But a message for a
lane whose queue is missing must not: it is returned to its publisher, or stays in its ladder, until the queue is there
again. So the alternate exchange leads the known keys to an exchange without queues, and only the others onward::

    EXCHANGE -- no binding --> UNROUTABLE_EXCHANGE -- known key --> NOWHERE_EXCHANGE: nothing takes it, it is returned
                                                   -- any other --> FAILED_EXCHANGE --> failed.queue

An exchange that exists keeps its arguments, and RabbitMQ refuses (406) to declare it with an alternate exchange. In
that case it is declared without one, and a warning names the policy that adds it while everything runs.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from shared.broker.channel import AmqpChannel, ChannelGone
from shared.errors import Locked, TopologyMismatch
from shared.message.channels import CHANNELS, Lane, lanes_of

log = structlog.get_logger(__name__)

EXCHANGE = "notifications.direct"
FAILED_EXCHANGE = "notifications.failed"
UNROUTABLE_EXCHANGE = "notifications.unroutable"
NOWHERE_EXCHANGE = "notifications.nowhere"
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
_ALTERNATE = "alternate-exchange"


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
class Exchange:
    """Describes a durable exchange."""

    name: str
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def send(self, raw: Any, **options: Any) -> None:
        raw.exchange_declare(self.name, self.kind, durable=True, arguments=self.arguments or None, **options)


@dataclass(frozen=True, slots=True)
class Queue:
    """Describes a durable queue."""

    name: str
    arguments: dict[str, Any]

    def send(self, raw: Any, **options: Any) -> None:
        raw.queue_declare(self.name, durable=True, arguments=self.arguments, **options)


@dataclass(frozen=True, slots=True)
class Binding:
    """Leads a routing key from an exchange to a queue, or to another exchange."""

    source: str
    target: Queue | Exchange
    routing_key: str = ""

    def send(self, raw: Any) -> None:
        if isinstance(self.target, Queue):
            raw.queue_bind(self.target.name, self.source, self.routing_key)
        else:
            raw.exchange_bind(self.target.name, self.source, self.routing_key)


Part = Exchange | Queue | Binding


def parts(
    levels_s: Sequence[float], channels: Iterable[str] = tuple(CHANNELS), *, alternate: bool = True
) -> Iterator[Part]:
    """Yields everything that ``channels`` need, in the order of declaration.

    ``alternate``: whether EXCHANGE is declared with its alternate exchange.
    """
    lanes = [lane for name in channels for lane in lanes_of(name)]
    yield Exchange(EXCHANGE, "direct", {_ALTERNATE: UNROUTABLE_EXCHANGE} if alternate else {})
    yield Exchange(FAILED_EXCHANGE, "fanout")
    failed = Queue(FAILED_QUEUE, failed_arguments())
    yield failed
    yield Binding(FAILED_EXCHANGE, failed)
    yield Exchange(UNROUTABLE_EXCHANGE, "direct", {_ALTERNATE: FAILED_EXCHANGE})
    nowhere = Exchange(NOWHERE_EXCHANGE, "fanout")
    yield nowhere
    for lane in lanes:
        queue = Queue(lane.queue, lane_arguments())
        yield queue
        for key in lane.routing_keys:
            yield Binding(EXCHANGE, queue, key)
            yield Binding(UNROUTABLE_EXCHANGE, nowhere, key)
    for level_s in levels_s:
        yield Exchange(retry_exchange(level_s), "direct")
        for lane in lanes:
            queue = Queue(retry_queue(lane, level_s), retry_arguments(level_s))
            yield queue
            yield Binding(retry_exchange(level_s), queue, lane.routing_key)


async def declare(
    open_channel: Callable[[], Awaitable[AmqpChannel]],
    levels_s: Sequence[float],
    channels: Iterable[str] = tuple(CHANNELS),
) -> None:
    """Declares everything that ``channels`` need, on channels of its own; it may be repeated.

    Raises TopologyMismatch if queues or exchanges exist with other arguments (its text names all of them, each with its
    argument and the command to move over), ChannelGone if a channel is lost, TimeoutError.
    """
    channels = tuple(channels)
    try:
        await _declare(open_channel, parts(levels_s, channels))
    except ChannelGone as exc:
        if not _lacks_alternate(exc):
            raise await _named(exc, open_channel, levels_s, channels, alternate=True) from exc
        vhost = _vhost(str(exc))
    else:
        return
    log.warning("unroutable_messages_are_lost", exchange=EXCHANGE, unless_you_have_run=policy_command(vhost))
    try:
        await _declare(open_channel, parts(levels_s, channels, alternate=False))
    except ChannelGone as exc:
        raise await _named(exc, open_channel, levels_s, channels, alternate=False) from exc


async def _declare(open_channel: Callable[[], Awaitable[AmqpChannel]], wanted: Iterable[Part]) -> None:
    channel = await open_channel()
    try:
        # Without a callback pika does not ask for an answer: a hundred methods cost one round trip, not a hundred.
        for part in wanted:
            part.send(channel.raw)
        # The broker handles a channel's methods in order: this answer means that all methods before it are done.
        await channel.call(channel.raw.exchange_declare, exchange=EXCHANGE, passive=True)
    finally:
        await channel.close()


def _lacks_alternate(gone: ChannelGone) -> bool:
    """Tells whether the broker refused EXCHANGE because it exists without (or with another) alternate exchange."""
    text = str(gone)
    return gone.code == _PRECONDITION_FAILED and f"'{_ALTERNATE}'" in text and f"'{EXCHANGE}'" in text


async def _named(
    gone: ChannelGone,
    open_channel: Callable[[], Awaitable[AmqpChannel]],
    levels_s: Sequence[float],
    channels: Sequence[str],
    *,
    alternate: bool,
) -> Exception:
    """Returns the error to raise after a refused declaration: for a mismatch, one that names every mismatch."""
    if gone.code != _PRECONDITION_FAILED:
        return gone
    found = [
        f"{why}\n    {_move_over(part, why)}"
        for part in parts(levels_s, channels, alternate=alternate)
        if not isinstance(part, Binding) and (why := await _refusal(open_channel, part))
    ]
    # Between the two looks somebody may have put it right; what was refused is told all the same.
    return TopologyMismatch("\n".join(found) or str(gone))


async def _refusal(open_channel: Callable[[], Awaitable[AmqpChannel]], part: Exchange | Queue) -> str:
    """Returns the broker's words if ``part`` exists with other arguments, else ''. It declares it if it is missing."""
    channel = await open_channel()
    try:
        await channel.call(lambda callback: part.send(channel.raw, callback=callback))
    except ChannelGone as exc:
        if exc.code != _PRECONDITION_FAILED:
            raise
        return str(exc)
    finally:
        await channel.close()
    return ""


def policy_command(vhost: str) -> str:
    """Returns the command that adds the alternate exchange to an exchange of an earlier version, while all runs."""
    pattern, definition = f"^{re.escape(EXCHANGE)}$", f'{{"{_ALTERNATE}":"{UNROUTABLE_EXCHANGE}"}}'
    return f"rabbitmqctl set_policy -p {vhost} --apply-to exchanges notify-unroutable '{pattern}' '{definition}'"


def _vhost(text: str) -> str:
    return found[1] if (found := re.search(r"in vhost '([^']*)'", text)) else "/"


def _move_over(part: Exchange | Queue, why: str) -> str:
    """Returns the command that removes the wrong queue or exchange, if it is empty; it is declared again then."""
    vhost = _vhost(why)
    if isinstance(part, Exchange):
        return f"rabbitmqadmin --vhost={vhost} delete exchange name={part.name}"
    return (
        f"rabbitmqctl -p {vhost} delete_queue --if-empty {part.name}"
        "   # if it holds messages, first: docs/amqp.md, Moving a queue over"
    )


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
