"""Checks that the publisher has one open channel, whatever closes or refuses it while another is being opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pika import spec

from shared.broker.channel import ChannelGone
from shared.broker.confirms import Outlet, Publication
from shared.broker.connection import Connection
from tests.support.waiting import eventually_async

PUSH = Publication("notifications.direct", "push", b"{}", {})


class Channel:
    """Stands in for an AMQP channel in confirm mode."""

    def __init__(self, on_closed: Callable[[ChannelGone], None]) -> None:
        self.is_open = True
        self.gone: ChannelGone | None = None
        self._on_closed = on_closed
        self.refuses = False
        self.confirm: Any = None
        self.raw = SimpleNamespace(
            confirm_delivery=None, add_on_return_callback=lambda _: None, basic_publish=lambda *_, **__: None
        )

    async def call(self, _method: Any, ack_nack_callback: Any) -> None:
        await asyncio.sleep(0)
        if self.refuses:
            raise TimeoutError
        self.confirm = ack_nack_callback

    def nack(self, tag: int) -> None:
        self.confirm(SimpleNamespace(method=spec.Basic.Nack(tag)))

    def fail(self) -> None:
        self.is_open, self.gone = False, ChannelGone(404, "no exchange")
        self._on_closed(self.gone)

    def discard(self) -> None:
        self.is_open = False

    async def close(self) -> None:
        self.is_open = False


class Broker:
    """Stands in for the connection. Each channel opens once ``gate`` is open."""

    state = "up"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.channels: list[Channel] = []
        self.refuses = False

    async def channel(self, on_closed: Callable[[ChannelGone], None]) -> Channel:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        channel = Channel(on_closed)
        channel.refuses = self.refuses
        self.channels.append(channel)
        return channel

    @property
    def open_channels(self) -> list[Channel]:
        return [channel for channel in self.channels if channel.is_open]


class Reopened:
    """Holds an outlet that is opened again each time the broker has closed its channel, as the publisher does."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.outlet = Outlet(cast("Connection", self.broker), 100, self._reopen)
        self.tasks: list[asyncio.Task[None]] = []

    def _reopen(self) -> None:
        self.tasks.append(asyncio.create_task(self.outlet.open()))


@pytest.fixture
async def reopened() -> AsyncIterator[Reopened]:
    reopened = Reopened()
    await reopened.outlet.open()
    yield reopened
    reopened.outlet.stop()


@pytest.mark.parametrize("closed_twice", [False, True])
async def test_a_renewal_beside_a_closed_channel_leaves_one_channel(reopened: Reopened, closed_twice: bool) -> None:
    broker, outlet = reopened.broker, reopened.outlet
    first = broker.channels[0]
    await outlet.room.acquire()
    pending = outlet.send(PUSH, asyncio.get_running_loop())
    broker.gate.clear()
    first.nack(1)
    await eventually_async(lambda: broker.waiting == 1, poll_s=0)
    first.fail()
    await eventually_async(lambda: reopened.tasks, poll_s=0)
    broker.gate.set()
    await asyncio.gather(*reopened.tasks)
    if closed_twice:
        broker.open_channels[0].fail()
        await asyncio.gather(*reopened.tasks)
    await eventually_async(lambda: len(broker.open_channels) == 1, poll_s=0)
    assert outlet._channel is cast("Any", broker.open_channels[0])
    assert outlet.ready.is_set()
    assert pending.fate.done()


async def test_a_channel_that_does_not_confirm_is_closed(reopened: Reopened) -> None:
    broker = reopened.broker
    broker.channels[0].fail()
    await asyncio.gather(*reopened.tasks)
    broker.open_channels[0].is_open = False
    broker.refuses = True
    with pytest.raises(TimeoutError):
        await reopened.outlet.open()
    assert broker.open_channels == []
