"""Checks the names and arguments of all exchanges and queues, and that each of them is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.broker import topology
from shared.broker.channel import ChannelGone
from shared.errors import TopologyMismatch
from shared.message.channels import CHANNELS, PRIORITIES, Lane, lane_by_queue, lane_by_routing_key, lanes_of

ROOT = Path(__file__).parents[3]
LEVELS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)


class Broker:
    """Acts as a broker that remembers every declaration.

    ``existing``: the names that it has -> their arguments; it refuses others. ``gone`` closes the channel at the end of
    a declaration.
    """

    def __init__(
        self, existing: Mapping[str, Mapping[str, Any]] | None = None, gone: ChannelGone | None = None
    ) -> None:
        self.existing, self.gone = existing or {}, gone
        self.exchanges: dict[str, tuple[str, Any]] = {}
        self.queues: dict[str, dict[str, Any]] = {}
        self.bindings: set[tuple[str, str, str]] = set()
        self.channels: list[Channel] = []

    async def open_channel(self) -> Any:
        self.channels.append(Channel(self))
        return self.channels[-1]


class Channel:
    """Acts as a channel, and as pika's beneath it: it is gone after the first refused declaration."""

    def __init__(self, broker: Broker) -> None:
        self.raw = self
        self.broker = broker
        self.gone: ChannelGone | None = None
        self.is_open = True

    def exchange_declare(
        self, exchange: str, exchange_type: str, *, durable: bool, arguments: Any, callback: Any = None
    ) -> None:
        assert durable
        if self._agrees(exchange, arguments or {}):
            self.broker.exchanges[exchange] = exchange_type, arguments

    def queue_declare(self, queue: str, *, durable: bool, arguments: dict[str, Any], callback: Any = None) -> None:
        assert durable
        if self._agrees(queue, arguments):
            self.broker.queues[queue] = arguments

    def queue_bind(self, queue: str, exchange: str, routing_key: str = "") -> None:
        if self.gone is None:
            self.broker.bindings.add((exchange, routing_key, queue))

    exchange_bind = queue_bind

    async def call(self, method: Any, **options: Any) -> None:
        if not options:
            method(callback=None)
        if (gone := self.gone or self.broker.gone) is not None:
            raise gone

    async def close(self) -> None:
        self.is_open = False

    def _agrees(self, name: str, arguments: Mapping[str, Any]) -> bool:
        for argument, value in self.broker.existing.get(name, arguments).items() | arguments.items():
            if self.broker.existing.get(name, arguments).get(argument) != arguments.get(argument) and not self.gone:
                text = f"PRECONDITION_FAILED - inequivalent arg '{argument}' for '{name}' in vhost '/v': {value!r}"
                self.gone = ChannelGone(406, text)
        return self.gone is None


async def declared(**arguments: Any) -> Broker:
    broker = Broker()
    await topology.declare(broker.open_channel, LEVELS_S, **arguments)
    assert not any(channel.is_open for channel in broker.channels)
    return broker


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


async def test_every_exchange_leads_somewhere_but_one() -> None:
    topology_ = await declared()
    leading = {exchange for exchange, _, _ in topology_.bindings}
    assert leading == topology_.exchanges.keys() - {topology.NOWHERE_EXCHANGE}


def routed(broker: Broker, exchange: str, key: str) -> set[str]:
    """Returns the queues that RabbitMQ would choose: an alternate exchange counts if there is no binding at all."""
    kind, arguments = broker.exchanges[exchange]
    targets = {to for source, bound, to in broker.bindings if source == exchange and (kind == "fanout" or bound == key)}
    if not targets and (alternate := (arguments or {}).get("alternate-exchange")):
        targets = {alternate}
    found = [routed(broker, to, key) if to in broker.exchanges else {to} for to in targets]
    return set().union(*found) & broker.queues.keys()


async def test_every_name_of_a_lane_leads_to_it() -> None:
    broker = await declared()
    for lane in lanes():
        keys = {lane.routing_key, f"{lane.channel}.{lane.priority}"}
        assert {queue for key in keys for queue in routed(broker, topology.EXCHANGE, key)} == {lane.queue}
        assert {lane_by_routing_key(key) for key in keys} == {lane}


@pytest.mark.parametrize("key", ["push.urgent", "PUSH", "", "push.high.queue", "push.*", "#", "websocket"])
async def test_an_unknown_routing_key_leads_to_failed_queue(key: str) -> None:
    assert routed(await declared(), topology.EXCHANGE, key) == {topology.FAILED_QUEUE}


async def test_a_message_for_a_lane_without_its_queue_is_returned_and_not_taken_by_failed_queue() -> None:
    broker = await declared()
    for lane in lanes():
        del broker.queues[lane.queue]
        broker.bindings = {binding for binding in broker.bindings if binding[2] != lane.queue}
        assert routed(broker, topology.EXCHANGE, lane.routing_key) == set()


async def test_an_exchange_of_an_earlier_version_is_used_as_it_is() -> None:
    broker = Broker({topology.EXCHANGE: {}})
    with capture_logs() as lines:
        await topology.declare(broker.open_channel, LEVELS_S)
    assert broker.exchanges[topology.EXCHANGE] == ("direct", None)
    assert broker.queues.keys() == (await declared()).queues.keys()
    assert broker.bindings == (await declared()).bindings
    (line,) = lines
    assert (line["log_level"], line["event"]) == ("warning", "unroutable_messages_are_lost")
    assert "set_policy -p /v " in line["unless_you_have_run"]


async def test_every_queue_and_exchange_with_other_arguments_is_named_at_once_with_its_command() -> None:
    classic = {"x-queue-type": "classic"}
    wrong = {"push.queue": classic, "retry.sms.5s.queue": {**topology.retry_arguments(5), "x-message-ttl": 7}}
    exchanges: dict[str, dict[str, Any]] = {topology.EXCHANGE: {}, topology.UNROUTABLE_EXCHANGE: {}}
    broker = Broker({**wrong, **exchanges})
    with pytest.raises(TopologyMismatch) as refused:
        await topology.declare(broker.open_channel, LEVELS_S)
    text = str(refused.value)
    for name in wrong:
        assert f"'{name}'" in text
        assert f"rabbitmqctl -p /v delete_queue --if-empty {name}" in text
    assert "rabbitmqadmin --vhost=/v delete exchange name=notifications.unroutable" in text
    assert text.count("PRECONDITION_FAILED") == 3
    assert not any(channel.is_open for channel in broker.channels)


async def test_a_worker_declares_its_own_channel_only() -> None:
    queues = (await declared(channels=("sms",))).queues
    assert len(queues) == 1 + 3 + 3 * len(LEVELS_S)
    assert all("sms" in queue for queue in queues if queue != topology.FAILED_QUEUE)


@pytest.mark.parametrize("code", [404, 403, 0])
async def test_only_other_arguments_are_a_mismatch(code: int) -> None:
    broker = Broker(gone=ChannelGone(code, "another reason"))
    with pytest.raises(ChannelGone, match="another reason"):
        await topology.declare(broker.open_channel, LEVELS_S)
