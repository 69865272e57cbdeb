"""Checks the names and arguments of all exchanges and queues, and that each of them is used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.broker import topology
from shared.broker.channel import ChannelGone
from shared.errors import TopologyMismatch
from shared.message.channels import CHANNELS, PRIORITIES, Lane, lane_by_queue, lane_by_routing_key, lanes_of

ROOT = Path(__file__).parents[3]
LEVELS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)


class RememberedDeclarations:
    """Acts as a channel that remembers every declaration, and closes at the end with ``refusal`` if there is one."""

    def __init__(self, refusal: ChannelGone | None = None) -> None:
        self.raw = self
        self.exchanges: dict[str, str] = {}
        self.queues: dict[str, dict[str, Any]] = {}
        self.bindings: set[tuple[str, str, str]] = set()
        self._refusal = refusal

    def exchange_declare(self, exchange: str, exchange_type: str, *, durable: bool) -> None:
        assert durable
        self.exchanges[exchange] = exchange_type

    def queue_declare(self, queue: str, *, durable: bool, arguments: dict[str, Any]) -> None:
        assert durable
        self.queues[queue] = arguments

    def queue_bind(self, queue: str, exchange: str, routing_key: str = "") -> None:
        self.bindings.add((exchange, routing_key, queue))

    def basic_qos(self, **_: Any) -> None:
        """Does nothing: it only asks for an answer."""

    async def call(self, _method: Any, **_: Any) -> None:
        if self._refusal is not None:
            raise self._refusal


async def declared(**arguments: Any) -> RememberedDeclarations:
    remembered = RememberedDeclarations()
    channel: Any = remembered
    await topology.declare(channel, LEVELS_S, **arguments)
    return remembered


def lanes() -> Iterator[Lane]:
    return (lane for name in CHANNELS for lane in lanes_of(name))


def test_the_published_names() -> None:
    assert (topology.EXCHANGE, topology.FAILED_EXCHANGE) == ("notifications.direct", "notifications.failed")
    assert (topology.FAILED_QUEUE, topology.LOCK_QUEUE) == ("failed.queue", "notifications.failed.lock")
    assert [lane.routing_key for lane in lanes_of("push")] == ["push.high", "push", "push.low"]
    assert [lane.queue for lane in lanes_of("email")] == ["email.high.queue", "email.queue", "email.low.queue"]
    assert topology.retry_queue(Lane("push", "high"), 5.0) == "retry.push.high.5s.queue"
    assert topology.retry_queue(Lane("sms", "medium"), 3600) == "retry.sms.1h.queue"
    assert topology.retry_exchange(60) == "notifications.retry.1m"


@pytest.mark.parametrize(
    ("level_s", "name"),
    [
        *((1, "1s"), (5, "5s"), (15, "15s"), (60, "1m"), (300, "5m"), (900, "15m"), (3600, "1h"), (1.0, "1s")),
        *((0.2, "200ms"), (2, "2000ms"), (7200, "7200000ms")),
    ],
)
def test_a_level_has_a_name_of_its_own(level_s: float, name: str) -> None:
    assert topology.level_name(level_s) == name


def test_a_lane_is_found_by_its_queue_and_by_its_key() -> None:
    for lane in lanes():
        assert lane_by_queue(lane.queue) == lane
        assert lane_by_routing_key(lane.routing_key) == lane
    assert lane_by_queue("failed.queue") is None


async def test_every_queue_keeps_what_it_has_taken() -> None:
    for queue, arguments in (await declared()).queues.items():
        assert arguments["x-queue-type"] == "quorum"
        if queue != topology.FAILED_QUEUE:
            # Without any of the three, RabbitMQ silently falls back to dead-lettering that may lose messages.
            assert arguments["x-dead-letter-strategy"] == "at-least-once"
            assert arguments["x-overflow"] == "reject-publish"
            assert arguments["x-dead-letter-exchange"] in (topology.EXCHANGE, topology.FAILED_EXCHANGE)


async def test_what_failed_stays_until_an_operator_comes() -> None:
    arguments = (await declared()).queues[topology.FAILED_QUEUE]
    assert arguments == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


async def test_what_waits_in_a_ladder_returns_to_its_own_lane() -> None:
    topology_ = await declared()
    for lane in lanes():
        for level_s in LEVELS_S:
            queue = topology.retry_queue(lane, level_s)
            arguments = topology_.queues[queue]
            assert (topology.retry_exchange(level_s), lane.routing_key, queue) in topology_.bindings
            assert arguments["x-message-ttl"] == level_s * 1000
            assert arguments["x-dead-letter-exchange"] == topology.EXCHANGE
            # With a dead-letter routing key the message would leave its lane.
            assert "x-dead-letter-routing-key" not in arguments
        assert (topology.EXCHANGE, lane.routing_key, lane.queue) in topology_.bindings


async def test_every_queue_has_a_consumer_or_a_reason() -> None:
    services = (main.parent.name for main in ROOT.glob("services/*/__main__.py"))
    served = {lane.queue for channel in services for lane in lanes_of(channel)}
    waits = {topology.retry_queue(lane, level_s) for lane in lanes() for level_s in LEVELS_S}
    operators = {topology.FAILED_QUEUE}
    assert (await declared()).queues.keys() == served | waits | operators
    assert len(waits) == len(CHANNELS) * len(PRIORITIES) * len(LEVELS_S)


async def test_every_exchange_leads_somewhere() -> None:
    topology_ = await declared()
    assert {exchange for exchange, _, _ in topology_.bindings} == topology_.exchanges.keys()


async def test_a_worker_declares_its_own_channel_only() -> None:
    queues = (await declared(channels=("sms",))).queues
    assert len(queues) == 1 + 3 + 3 * len(LEVELS_S)
    assert all("sms" in queue for queue in queues if queue != topology.FAILED_QUEUE)


OTHER_ARGUMENTS = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'retry.push.1s.queue'"
LIMIT = "PRECONDITION_FAILED - cannot declare queue 'push.queue': queue limit in vhost '/' (1) is reached"


@pytest.mark.parametrize(
    ("code", "text", "raised"),
    [
        (406, OTHER_ARGUMENTS, TopologyMismatch),
        (406, LIMIT, ChannelGone),
        (404, "NOT_FOUND - no exchange", ChannelGone),
        (0, "connection lost", ChannelGone),
    ],
)
async def test_only_a_queue_with_other_arguments_is_a_mismatch(code: int, text: str, raised: type[Exception]) -> None:
    channel: Any = RememberedDeclarations(ChannelGone(code, text))
    with pytest.raises(raised, match=re.escape(text)):
        await topology.declare(channel, LEVELS_S)
