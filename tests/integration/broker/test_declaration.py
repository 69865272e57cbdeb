"""Checks with a real broker that a queue that cannot be declared keeps out only its own lane."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from ops.servers import RabbitMQServer
from shared.broker.connection import Connection
from tests.support.waiting import eventually_async
from tests.support.workbench import ScriptedProvider, quick_settings, running

LOW = "push.low.queue"


@pytest.fixture
def permissions(rabbitmq: RabbitMQServer, vhost: str) -> Iterator[None]:
    yield
    rabbitmq.management.permit(vhost)


async def _forbid(rabbitmq: RabbitMQServer, vhost: str, configure: str) -> None:
    await asyncio.to_thread(rabbitmq.management.permit, vhost, configure)


@pytest.mark.usefixtures("permissions")
async def test_a_queue_that_may_not_be_declared_keeps_out_only_its_lane_until_it_may(
    rabbitmq: RabbitMQServer, vhost: str, vhost_url: str, redis_url: str
) -> None:
    await _forbid(rabbitmq, vhost, f"^(?!{LOW}$).*")
    provider = ScriptedProvider()
    with capture_logs() as lines:
        async with running(quick_settings(vhost_url, redis_url), [provider]) as bench:
            ids = {await bench.put(priority="high"), await bench.put()}
            await eventually_async(lambda: set(provider.accepted) == ids)
            await eventually_async(lambda: bench.worker.broken_lanes == [LOW])
            assert bench.count("notify_declaration_failed_total", part=LOW) >= 1
            await _forbid(rabbitmq, vhost, ".*")
            await eventually_async(lambda: bench.worker.broken_lanes == [])
            ids.add(await bench.put(priority="low"))
            await eventually_async(lambda: set(provider.accepted) == ids)
    failed = [line["error"] for line in lines if line["event"] == "declaration_failed"]
    assert all("ACCESS_REFUSED" in error and LOW in error for error in failed)
    # Once per connection: the worker's, and that which publishes.
    assert len(failed) == 2


@pytest.mark.usefixtures("permissions")
async def test_an_application_that_may_declare_nothing_uses_what_is_there(
    rabbitmq: RabbitMQServer, vhost: str, vhost_url: str, redis_url: str
) -> None:
    async with running(quick_settings(vhost_url, redis_url), [ScriptedProvider()]):
        """Declares everything."""
    await _forbid(rabbitmq, vhost, "^$")
    provider = ScriptedProvider()
    async with running(quick_settings(vhost_url, redis_url), [provider]) as bench:
        rid = await bench.put(priority="low")
        await eventually_async(lambda: provider.accepted == [rid])


@pytest.mark.parametrize("cause", ["locked", "limit"])
@pytest.mark.usefixtures("permissions")
async def test_a_queue_that_another_connection_has_or_that_is_one_too_many_keeps_out_only_its_lane(
    cause: str, rabbitmq: RabbitMQServer, vhost: str, vhost_url: str, redis_url: str
) -> None:
    async with running(quick_settings(vhost_url, redis_url), [ScriptedProvider()]):
        """Declares everything."""
    await asyncio.to_thread(rabbitmq.ctl, "delete_queue", "-p", vhost, LOW)
    holder = Connection(vhost_url, "holder")
    holder.start()
    try:
        await asyncio.wait_for(holder.wait_up(), 10)
        channel = await holder.channel()
        if cause == "locked":
            await channel.call(channel.raw.queue_declare, queue=LOW, exclusive=True)
        else:
            count = len(await asyncio.to_thread(rabbitmq.list_queues, vhost))
            limit = f'{{"max-queues": {count}}}'
            await asyncio.to_thread(rabbitmq.ctl, "set_vhost_limits", "-p", vhost, limit)
        provider = ScriptedProvider()
        async with running(quick_settings(vhost_url, redis_url), [provider]) as bench:
            rid = await bench.put(priority="high")
            await eventually_async(lambda: provider.accepted == [rid])
            await eventually_async(lambda: bench.worker.broken_lanes == [LOW])
    finally:
        await holder.close()
