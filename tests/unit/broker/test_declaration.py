"""Checks that what a broker refuses to declare keeps out only itself, and is reported."""

from __future__ import annotations

from collections.abc import Callable
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
EVERYTHING = {part.name for part in topology.parts(LEVELS_S, ["push"])}
REFUSED = "ACCESS_REFUSED - access to queue 'push.low.queue' refused"


class Broker:
    """Declares what is not in ``refused``, and closes the AMQP channel at the first refusal, as RabbitMQ does."""

    def __init__(self, **refused: ChannelGone) -> None:
        self.refused = {name.replace("_", "."): error for name, error in refused.items()}
        self.declared: set[str] = set()
        self.opened = self.closed = 0

    async def channel(self) -> Any:
        self.opened += 1
        return _Channel(self)

    @property
    def declaration(self) -> Declaration:
        return Declaration(cast("Connection", self), LEVELS_S, ["push"], Metrics())


class _Channel:
    def __init__(self, broker: Broker) -> None:
        self.raw = self
        self._broker = broker
        self._gone: ChannelGone | None = None

    def exchange_declare(self, name: str, *_: Any, **__: Any) -> None:
        self._gone = self._gone or self._broker.refused.get(name)
        if self._gone is None:
            self._broker.declared.add(name)

    queue_declare = exchange_declare

    def queue_bind(self, *_: Any) -> None:
        """Does nothing: the queue and its binding are one part."""

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
    assert (broker.opened, broker.closed) == (1, 1)


@pytest.mark.parametrize("name", sorted(EVERYTHING))
async def test_a_refused_part_keeps_out_only_itself(name: str) -> None:
    broker = Broker()
    broker.refused[name] = ChannelGone(403, f"ACCESS_REFUSED - {name}")
    metrics = Metrics()
    declaration = Declaration(cast("Connection", broker), LEVELS_S, ["push"], metrics)
    with capture_logs() as lines:
        await declaration.declare()
        await declaration.declare()
    assert broker.declared == EVERYTHING - {name}
    assert broker.opened == broker.closed
    error = f"403 ACCESS_REFUSED - {name}"
    assert lines == [{"event": "declaration_failed", "log_level": "error", "part": name, "error": error}]
    assert metrics.registry.get_sample_value("notify_declaration_failed_total", {"part": name}) == 2


async def test_a_part_is_declared_once_it_is_no_longer_refused() -> None:
    broker = Broker(push_low_queue=ChannelGone(405, "RESOURCE_LOCKED"))
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


@pytest.mark.parametrize(
    ("gone", "raised"),
    [
        (ChannelGone(406, "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit'"), TopologyMismatch),
        (ChannelGone(0, "connection lost"), ChannelGone),
    ],
)
async def test_other_arguments_and_a_lost_connection_are_raised(gone: ChannelGone, raised: type[Exception]) -> None:
    broker = Broker(push_low_queue=gone)
    with pytest.raises(raised):
        await broker.declaration.declare()


async def test_other_arguments_behind_a_refused_queue_are_found() -> None:
    broker = Broker(push_high_queue=ChannelGone(403, REFUSED), push_low_queue=ChannelGone(406, "inequivalent arg"))
    with pytest.raises(TopologyMismatch):
        await broker.declaration.declare()
