"""Checks the names and arguments of all exchanges and queues, and that each of them is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.broker import topology
from shared.message.channels import CHANNELS, PRIORITIES, Lane, lane_by_queue, lane_by_routing_key, lanes_of

ROOT = Path(__file__).parents[3]
LEVELS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)


class Described:
    """Sorts what ``topology.parts`` describes. A binding is (exchange, routing key, name that it leads to)."""

    def __init__(self, **arguments: Any) -> None:
        parts = list(topology.parts(LEVELS_S, **arguments))
        self.exchanges = {part.name: part for part in parts if isinstance(part, topology.Exchange)}
        self.queues = {part.name: part.arguments for part in parts if isinstance(part, topology.Queue)}
        self.bindings = {(source, key, part.name) for part in parts for source, key in part.bindings}


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


def test_every_queue_keeps_what_it_has_taken() -> None:
    for queue, arguments in Described().queues.items():
        assert arguments["x-queue-type"] == "quorum"
        if queue != topology.FAILED_QUEUE:
            # Without any of the three, RabbitMQ silently falls back to dead-lettering that may lose messages.
            assert arguments["x-dead-letter-strategy"] == "at-least-once"
            assert arguments["x-overflow"] == "reject-publish"
            assert arguments["x-dead-letter-exchange"] in (topology.EXCHANGE, topology.FAILED_EXCHANGE)


def test_what_failed_stays_until_an_operator_comes() -> None:
    arguments = Described().queues[topology.FAILED_QUEUE]
    assert arguments == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


def test_what_waits_in_a_ladder_returns_to_its_own_lane() -> None:
    described = Described()
    for lane in lanes():
        for level_s in LEVELS_S:
            queue = topology.retry_queue(lane, level_s)
            arguments = described.queues[queue]
            assert (topology.retry_exchange(level_s), lane.routing_key, queue) in described.bindings
            assert arguments["x-message-ttl"] == level_s * 1000
            assert arguments["x-dead-letter-exchange"] == topology.EXCHANGE
            # With a dead-letter routing key the message would leave its lane.
            assert "x-dead-letter-routing-key" not in arguments
        assert (topology.EXCHANGE, lane.routing_key, lane.queue) in described.bindings


def test_every_queue_has_a_consumer_or_a_reason() -> None:
    services = (main.parent.name for main in ROOT.glob("services/*/__main__.py"))
    served = {lane.queue for channel in services for lane in lanes_of(channel)}
    waits = {topology.retry_queue(lane, level_s) for lane in lanes() for level_s in LEVELS_S}
    operators = {topology.FAILED_QUEUE}
    assert Described().queues.keys() == served | waits | operators
    assert len(waits) == len(CHANNELS) * len(PRIORITIES) * len(LEVELS_S)


def test_every_exchange_leads_somewhere_but_one() -> None:
    described = Described()
    leading = {exchange for exchange, _, _ in described.bindings}
    assert leading == described.exchanges.keys() - {topology.NOWHERE_EXCHANGE}


def routed(described: Described, exchange: str, key: str) -> set[str]:
    """Returns the queues that RabbitMQ would choose: an alternate exchange counts if there is no binding at all."""
    part = described.exchanges[exchange]
    any_key = part.kind == "fanout"
    targets = {to for source, bound, to in described.bindings if source == exchange and (any_key or bound == key)}
    if not targets and (alternate := part.arguments.get("alternate-exchange")):
        targets = {alternate}
    found = [routed(described, to, key) if to in described.exchanges else {to} for to in targets]
    return set().union(*found) & described.queues.keys()


def test_every_name_of_a_lane_leads_to_it() -> None:
    described = Described()
    for lane in lanes():
        keys = {lane.routing_key, f"{lane.channel}.{lane.priority}"}
        assert {queue for key in keys for queue in routed(described, topology.EXCHANGE, key)} == {lane.queue}
        assert {lane_by_routing_key(key) for key in keys} == {lane}


@pytest.mark.parametrize("key", ["push.urgent", "PUSH", "", "push.high.queue", "push.*", "#", "fax"])
def test_an_unknown_routing_key_leads_to_failed_queue(key: str) -> None:
    assert routed(Described(), topology.EXCHANGE, key) == {topology.FAILED_QUEUE}


def test_a_message_for_a_lane_without_its_queue_is_returned_and_not_taken_by_failed_queue() -> None:
    described = Described()
    for lane in lanes():
        del described.queues[lane.queue]
        described.bindings = {binding for binding in described.bindings if binding[2] != lane.queue}
        assert routed(described, topology.EXCHANGE, lane.routing_key) == set()


def test_a_worker_declares_its_own_channel_only() -> None:
    queues = Described(channels=("sms",)).queues
    assert len(queues) == 1 + 3 + 3 * len(LEVELS_S)
    assert all("sms" in queue for queue in queues if queue != topology.FAILED_QUEUE)
