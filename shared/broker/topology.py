"""Names and describes every exchange and queue; ``declaration`` declares them.

A queue's arguments hold only what can never change: RabbitMQ refuses (406) to declare a queue again with other
arguments. Each lane has its own ladder, because the at-least-once dead-letter worker of a source queue stops at 32
unconfirmed messages: with a shared ladder one missing or full lane would stop the retries of all lanes.

A message with an unknown routing key goes to failed.queue by the alternate exchange of EXCHANGE. But a message for a
lane whose queue is missing must not: it is returned to its publisher, or stays in its ladder, until the queue is there
again. So the alternate exchange leads the known keys to an exchange without queues, and only the others onward::

    EXCHANGE -- no binding --> UNROUTABLE_EXCHANGE -- known key --> NOWHERE_EXCHANGE: nothing takes it, it is returned
                                                   -- any other --> FAILED_EXCHANGE --> failed.queue

An exchange that exists keeps its arguments, and RabbitMQ refuses (406) to declare it with an alternate exchange. In
that case it is used without one, and a warning names the policy that adds it while everything runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from shared.message.channels import CHANNELS, Lane, lanes_of

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


class Binding(NamedTuple):
    """Leads a routing key from the exchange ``source`` to the queue or exchange that has this binding."""

    source: str
    routing_key: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Describes a durable exchange and the bindings that lead to it.

    ``may_lack``: the argument that the exchange of an earlier version does not have, or ''.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    bindings: Sequence[Binding] = ()
    may_lack: str = ""

    def write(self, raw: Any) -> None:
        """Sends the declarations, and awaits no answer."""
        # Without a callback pika does not ask for an answer: a hundred methods cost one round trip, not a hundred.
        raw.exchange_declare(self.name, self.kind, durable=True, arguments=self.arguments or None)
        for binding in self.bindings:
            raw.exchange_bind(self.name, binding.source, binding.routing_key)

    def of_earlier_version(self) -> Exchange:
        """Returns the exchange without the argument that it may lack."""
        kept = {name: value for name, value in self.arguments.items() if name != self.may_lack}
        return replace(self, arguments=kept, may_lack="")

    def move_over(self, vhost: str) -> str:
        """Returns the command that removes an exchange with other arguments."""
        return f"rabbitmqadmin --vhost={vhost} delete exchange name={self.name}"


@dataclass(frozen=True, slots=True)
class Queue:
    """Describes a durable queue and the bindings that lead to it."""

    name: str
    arguments: Mapping[str, Any]
    bindings: Sequence[Binding]

    def write(self, raw: Any) -> None:
        """Sends the declarations, and awaits no answer."""
        raw.queue_declare(self.name, durable=True, arguments=self.arguments)
        for binding in self.bindings:
            raw.queue_bind(self.name, binding.source, binding.routing_key)

    def move_over(self, vhost: str) -> str:
        """Returns the command that removes a queue with other arguments, if it is empty."""
        return (
            f"rabbitmqctl -p {vhost} delete_queue --if-empty {self.name}"
            "   # if it holds messages, first: docs/amqp.md, Moving a queue over"
        )


Part = Exchange | Queue


def parts(levels_s: Sequence[float], channels: Iterable[str] = tuple(CHANNELS)) -> Iterator[Part]:
    """Yields everything that ``channels`` need: exchanges before what is bound to them."""
    lanes = [lane for name in channels for lane in lanes_of(name)]
    yield Exchange(EXCHANGE, "direct", {_ALTERNATE: UNROUTABLE_EXCHANGE}, may_lack=_ALTERNATE)
    yield Exchange(FAILED_EXCHANGE, "fanout")
    yield Exchange(UNROUTABLE_EXCHANGE, "direct", {_ALTERNATE: FAILED_EXCHANGE})
    known = [Binding(UNROUTABLE_EXCHANGE, key) for lane in lanes for key in lane.routing_keys]
    yield Exchange(NOWHERE_EXCHANGE, "fanout", bindings=known)
    for level_s in levels_s:
        yield Exchange(retry_exchange(level_s), "direct")
    yield Queue(FAILED_QUEUE, failed_arguments(), [Binding(FAILED_EXCHANGE)])
    for lane in lanes:
        yield Queue(lane.queue, lane_arguments(), [Binding(EXCHANGE, key) for key in lane.routing_keys])
    for level_s in levels_s:
        for lane in lanes:
            binding = Binding(retry_exchange(level_s), lane.routing_key)
            yield Queue(retry_queue(lane, level_s), retry_arguments(level_s), [binding])


def policy_command(vhost: str) -> str:
    """Returns the command that adds the alternate exchange to an exchange of an earlier version, while all runs."""
    pattern, definition = f"^{re.escape(EXCHANGE)}$", f'{{"{_ALTERNATE}":"{UNROUTABLE_EXCHANGE}"}}'
    return f"rabbitmqctl set_policy -p {vhost} --apply-to exchanges notify-unroutable '{pattern}' '{definition}'"
