"""Checks that the topology is declared at once, and what becomes of a part that a broker refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from shared.broker import topology
from shared.broker.channel import ChannelGone
from shared.broker.connection import Connection
from shared.broker.declaration import Declaration
from shared.errors import TopologyMismatch
from shared.metrics import Metrics

LEVELS_S = (1.0, 5.0)
EVERYTHING = {part.name: dict(part.arguments) for part in topology.parts(LEVELS_S, ["push"])}
BINDINGS = {(*binding, part.name) for part in topology.parts(LEVELS_S, ["push"]) for binding in part.bindings}
REFUSED = "ACCESS_REFUSED - access to queue 'push.low.queue' refused"
LIMIT = "PRECONDITION_FAILED - cannot declare queue 'push.low.queue': queue limit in vhost '/' (1) is reached"
CLASSIC = {"x-queue-type": "classic"}
#: An exchange as an earlier version declared it.
EARLIER: dict[str, dict[str, Any]] = {topology.EXCHANGE: {}}


class Broker:
    """Declares what it does not refuse, and closes the AMQP channel at the first refusal, as RabbitMQ does.

    It refuses the names in ``refused``, and those in ``existing`` unless they are declared with these arguments.
    """

    def __init__(self, existing: Mapping[str, Mapping[str, Any]] | None = None, **refused: ChannelGone) -> None:
        self.existing = dict(existing or {})
        self.refused = {name.replace("_", "."): error for name, error in refused.items()}
        self.declared: dict[str, Any] = {}
        self.bindings: set[tuple[str, str, str]] = set()
        self.opened = self.closed = 0

    async def channel(self) -> Any:
        self.opened += 1
        return _Channel(self)

    @property
    def declaration(self) -> Declaration:
        return self.declaration_with(Metrics())

    def declaration_with(self, metrics: Metrics) -> Declaration:
        return Declaration(cast("Connection", self), LEVELS_S, ["push"], metrics)

    def refusal(self, name: str, arguments: Mapping[str, Any]) -> ChannelGone | None:
        there = self.existing.get(name, arguments)
        for argument in sorted(there.keys() | arguments.keys()):
            if there.get(argument) != arguments.get(argument):
                return ChannelGone(
                    406, f"PRECONDITION_FAILED - inequivalent arg '{argument}' for '{name}' in vhost '/v'"
                )
        return self.refused.get(name)


class _Channel:
    """Acts as a channel, and as pika's beneath it."""

    def __init__(self, broker: Broker) -> None:
        self.raw = self
        self._broker = broker
        self._gone: ChannelGone | None = None

    def exchange_declare(self, name: str, *_: Any, durable: bool, arguments: Mapping[str, Any] | None) -> None:
        assert durable
        self._gone = self._gone or self._broker.refusal(name, arguments or {})
        if self._gone is None:
            self._broker.declared[name] = arguments or {}

    queue_declare = exchange_declare

    def queue_bind(self, name: str, exchange: str, routing_key: str) -> None:
        if self._gone is None:
            self._broker.bindings.add((exchange, routing_key, name))

    exchange_bind = queue_bind

    def basic_qos(self, **_: Any) -> None:
        """Does nothing: it only asks for an answer."""

    async def call(self, _method: Callable[..., Any], **_: Any) -> None:
        if self._gone is not None:
            raise self._gone

    async def close(self) -> None:
        self._broker.closed += 1


async def test_everything_is_declared_on_one_channel() -> None:
    broker = Broker()
    await broker.declaration.declare()
    assert broker.declared == EVERYTHING
    assert broker.bindings == BINDINGS
    assert (broker.opened, broker.closed) == (1, 1)


@pytest.mark.parametrize("name", sorted(EVERYTHING))
async def test_a_refused_part_keeps_out_only_itself(name: str) -> None:
    broker = Broker()
    broker.refused[name] = ChannelGone(403, f"ACCESS_REFUSED - {name}")
    metrics = Metrics()
    declaration = broker.declaration_with(metrics)
    with capture_logs() as lines:
        await declaration.declare()
        await declaration.declare()
    assert broker.declared.keys() == EVERYTHING.keys() - {name}
    assert broker.bindings == {binding for binding in BINDINGS if binding[2] != name}
    assert broker.opened == broker.closed
    error = f"403 ACCESS_REFUSED - {name}"
    assert lines == [{"event": "declaration_failed", "log_level": "error", "part": name, "error": error}]
    assert metrics.registry.get_sample_value("notify_declaration_failed_total", {"part": name}) == 2


@pytest.mark.parametrize(
    "refusal",
    [ChannelGone(403, REFUSED), ChannelGone(404, "NOT_FOUND - no exchange"), ChannelGone(406, LIMIT)],
    ids=lambda refusal: str(refusal.code),
)
async def test_a_part_is_declared_once_it_is_no_longer_refused(refusal: ChannelGone) -> None:
    broker = Broker(push_low_queue=refusal)
    declaration = broker.declaration
    await declaration.declare()
    broker.refused.clear()
    with capture_logs() as lines:
        await declaration.declare()
    assert broker.declared == EVERYTHING
    assert lines == [{"event": "declaration_succeeded", "log_level": "info", "part": "push.low.queue"}]
    before = broker.opened
    await declaration.declare()
    assert broker.opened == before + 1


async def test_a_lost_connection_is_no_refusal() -> None:
    broker = Broker(push_low_queue=ChannelGone(0, "connection lost"))
    with pytest.raises(ChannelGone, match="connection lost"):
        await broker.declaration.declare()
    assert broker.opened == broker.closed == 1


async def test_every_queue_and_exchange_with_other_arguments_is_named_at_once_with_its_command() -> None:
    wrong = {"push.queue": CLASSIC, "retry.push.5s.queue": {**topology.retry_arguments(5), "x-message-ttl": 7}}
    # Neither what is refused nor the exchange of an earlier version hides them, or is one of them.
    broker = Broker({**wrong, **EARLIER, topology.UNROUTABLE_EXCHANGE: {}}, push_high_queue=ChannelGone(403, REFUSED))
    with pytest.raises(TopologyMismatch) as refused:
        await broker.declaration.declare()
    text = str(refused.value)
    for name in wrong:
        assert f"'{name}'" in text
        assert f"rabbitmqctl -p /v delete_queue --if-empty {name}" in text
    assert "rabbitmqadmin --vhost=/v delete exchange name=notifications.unroutable" in text
    assert text.count("PRECONDITION_FAILED") == 3
    assert broker.opened == broker.closed


async def test_what_was_refused_is_a_mismatch_once_it_exists_with_other_arguments() -> None:
    broker = Broker(push_low_queue=ChannelGone(405, "RESOURCE_LOCKED"))
    declaration = broker.declaration
    await declaration.declare()
    broker.existing["push.low.queue"] = CLASSIC
    with pytest.raises(TopologyMismatch, match=r"push\.low\.queue"):
        await declaration.declare()


async def test_an_exchange_of_an_earlier_version_is_used_as_it_is() -> None:
    broker, metrics = Broker(EARLIER), Metrics()
    declaration = broker.declaration_with(metrics)
    with capture_logs() as lines:
        await declaration.declare()
        # The refusal, all other parts, and the exchange with and without the argument: not one channel per part.
        assert broker.opened == broker.closed == 4
        await declaration.declare()
    assert broker.declared == {**EVERYTHING, **EARLIER}
    assert broker.bindings == BINDINGS
    (line,) = lines
    assert (line["log_level"], line["event"]) == ("warning", "unroutable_messages_are_lost")
    assert "set_policy -p /v " in line["unless_you_have_run"]
    part = {"part": topology.EXCHANGE}
    assert metrics.registry.get_sample_value("notify_declaration_failed_total", part) is None
    broker.existing.clear()
    await declaration.declare()
    await declaration.declare()
    assert broker.declared == EVERYTHING
