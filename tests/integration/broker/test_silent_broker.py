"""Checks that an unresponsive broker's connection is dropped soon, and that of a busy or blocked broker is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from ops.servers import RabbitMQServer
from shared.broker.connection import SILENT_INTERVALS, Connection
from shared.broker.publisher import Publication, Publisher
from shared.broker.topology import EXCHANGE
from tests.support.publishing import publishing
from tests.support.waiting import eventually_async

HEARTBEAT_S = 1
#: number of heartbeats of an otherwise idle connection, after which it must still be the same connection
HEARTBEATS = 5
#: the same of a blocked connection. RabbitMQ sends up to two in each interval, so this takes longer than the 10 s after
#: which a blocked connection used to be dropped
LONG_BLOCKED = 26
HEARTBEAT_BYTES = 8
LEADER = '[sys:{}(whereis(N)) || N <- registered(), N == list_to_atom("{}_push.queue")].'


@pytest.fixture(autouse=True)
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.broker.connection.HEARTBEAT_S", HEARTBEAT_S)


@pytest.fixture
async def publisher(vhost_url: str) -> AsyncIterator[Publisher]:
    async with publishing(vhost_url, deadline_s=0.5, channels=("push",)) as publisher:
        yield publisher


def push(count: int) -> list[Publication]:
    return [Publication(EXCHANGE, "push", b"{}", {}) for _ in range(count)]


def heard_on(connection: Connection) -> Callable[[], int]:
    """Returns a count of the bytes that the present connection receives from now on; it is 0 once that is dropped."""
    wire = connection._raw
    assert wire is not None
    before = wire.heard_bytes
    return lambda: wire.heard_bytes - before if connection._raw is wire else 0


async def stays(connection: Connection, heartbeats: int = HEARTBEATS) -> None:
    heard = heard_on(connection)
    await eventually_async(
        lambda: heard() >= heartbeats * HEARTBEAT_BYTES, deadline_s=max(10, heartbeats * HEARTBEAT_S)
    )
    assert connection.state != "down"


async def test_the_connection_of_an_unresponsive_broker_is_dropped_without_a_close(
    publisher: Publisher, rabbitmq: RabbitMQServer
) -> None:
    rabbitmq.pause()
    try:
        began = time.monotonic()
        await eventually_async(lambda: publisher.state == "down")
        assert time.monotonic() - began < SILENT_INTERVALS * HEARTBEAT_S + 1
    finally:
        rabbitmq.resume()
    await publisher.publish_all(push(1), deadline_s=20)
    assert publisher.state == "up"


async def test_one_that_is_idle_is_kept(publisher: Publisher) -> None:
    await stays(publisher.connection)


async def test_one_that_takes_nothing_because_of_a_memory_alarm_is_kept(
    publisher: Publisher, rabbitmq: RabbitMQServer, vhost: str
) -> None:
    await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.00001")
    try:
        assert None not in await publisher.publish_all(push(1000))
        assert publisher.state == "blocked"
        await stays(publisher.connection, LONG_BLOCKED)
        assert publisher.state == "blocked"
        # Nothing more is written, and so nothing more is stored after the alarm.
        assert None not in await publisher.publish_all(push(1000))
    finally:
        await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.4")
    assert await publisher.publish_all(push(1), deadline_s=20) == [None]
    await eventually_async(lambda: rabbitmq.list_queues(vhost)["push.queue"].messages == 1001)


async def test_one_that_reads_nothing_because_a_queue_has_no_leader_is_kept(
    publisher: Publisher, rabbitmq: RabbitMQServer, vhost: str
) -> None:
    await publisher.publish_all(push(1), deadline_s=5)
    await asyncio.to_thread(rabbitmq.ctl, "eval", LEADER.format("suspend", vhost))
    try:
        assert None not in await publisher.publish_all(push(3000))
        await stays(publisher.connection)
    finally:
        await asyncio.to_thread(rabbitmq.ctl, "eval", LEADER.format("resume", vhost))
    await publisher.publish_all(push(1), deadline_s=20)
