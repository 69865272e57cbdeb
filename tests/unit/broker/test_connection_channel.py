"""Opening a channel on a connection that does not do its part."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shared.broker.channel import ChannelGone
from shared.broker.connection import Connection


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    """Open, on a broker that answers nothing."""
    monkeypatch.setattr("shared.broker.connection.RPC_DEADLINE_S", 0.05)
    connection = Connection("amqp://guest:guest@127.0.0.1:1/", "test")
    raw: Any = SimpleNamespace(is_open=True, channel=lambda on_open_callback: None)
    connection._raw = raw
    return connection


async def test_a_broker_that_does_not_answer_is_not_said_to_have_gone(connection: Connection) -> None:
    with pytest.raises(TimeoutError, match="no channel within"):
        await connection.channel()


async def test_a_connection_that_is_lost_meanwhile_is_said_to_be(connection: Connection) -> None:
    connection._gone.set()
    with pytest.raises(ChannelGone, match="connection lost"):
        await connection.channel()
