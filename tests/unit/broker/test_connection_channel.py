"""Checks the opening of a channel when the broker does not answer or the connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from shared.broker.channel import ChannelGone
from shared.broker.connection import Connection
from tests.support.waiting import eventually_async


class OpeningChannel:
    """Stands for a channel whose opening the broker has not confirmed yet."""

    def __init__(self, on_open_callback: Callable[[Any], None]) -> None:
        self._on_open = on_open_callback
        self.is_closing = self.is_closed = False

    def confirm(self) -> None:
        self._on_open(self)

    def close(self) -> None:
        self.is_closing = True

    def add_on_close_callback(self, callback: Any) -> None:
        """Does nothing: the broker never closes this channel."""


@pytest.fixture
def opening() -> list[OpeningChannel]:
    """Returns the list of the channels that the connection was asked to open."""
    return []


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch, opening: list[OpeningChannel]) -> Connection:
    """Returns an open connection to a broker that does not answer."""
    monkeypatch.setattr("shared.broker.connection.RPC_DEADLINE_S", 0.05)
    connection = Connection("amqp://guest:guest@127.0.0.1:1/", "test")

    def channel(on_open_callback: Callable[[Any], None]) -> OpeningChannel:
        opening.append(OpeningChannel(on_open_callback))
        return opening[-1]

    raw: Any = SimpleNamespace(is_open=True, channel=channel)
    connection._raw = raw
    return connection


async def test_a_connection_that_is_lost_meanwhile_is_reported_as_lost(connection: Connection) -> None:
    connection._gone.set()
    with pytest.raises(ChannelGone, match="connection lost"):
        await connection.channel()


async def test_a_broker_that_does_not_answer_in_time_is_reported_as_a_timeout_and_a_late_channel_is_closed(
    connection: Connection, opening: list[OpeningChannel]
) -> None:
    with pytest.raises(TimeoutError, match="no channel within"):
        await connection.channel()
    assert opening[0].is_closing


async def test_a_channel_whose_caller_was_cancelled_is_closed(
    connection: Connection, opening: list[OpeningChannel]
) -> None:
    waiting = asyncio.create_task(connection.channel())
    await eventually_async(lambda: opening, poll_s=0.001)
    opening[0].confirm()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert opening[0].is_closing


async def test_a_channel_that_opens_in_time_stays_open(connection: Connection, opening: list[OpeningChannel]) -> None:
    waiting = asyncio.create_task(connection.channel())
    await eventually_async(lambda: opening, poll_s=0.001)
    opening[0].confirm()
    await waiting
    assert not opening[0].is_closing
