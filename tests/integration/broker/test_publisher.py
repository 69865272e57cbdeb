"""Checks the publisher with a real broker: a confirmed message is stored, and each other one gets an error."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from ops.servers import RabbitMQServer
from shared.broker import topology
from shared.broker.publisher import Publication, Publisher
from shared.errors import PublishFailed, PublishUnknown, PublishUnroutable, TopologyMismatch
from shared.message.channels import CHANNELS, Lane, lanes_of
from tests.support.publishing import publishing
from tests.support.waiting import eventually_async

LEVELS = (1.0, 5.0)


@pytest.fixture
async def publisher(vhost_url: str) -> AsyncIterator[Publisher]:
    async with publishing(vhost_url, levels_s=LEVELS, deadline_s=5, max_pending=1000) as publisher:
        yield publisher


def push(n: int, key: str = "push") -> Publication:
    return Publication(topology.EXCHANGE, key, b"{}", {"notify-attempt": 0}, f"r{n}")


async def test_a_thousand_pipelined_messages_are_all_stored(
    publisher: Publisher, rabbitmq: RabbitMQServer, vhost: str
) -> None:
    assert await publisher.publish_all([push(n) for n in range(1000)]) == [None] * 1000
    channel = await publisher.connection.channel()
    answer = await channel.call(channel.raw.queue_declare, queue="push.queue", passive=True)
    assert answer.method.message_count == 1000


async def test_every_lane_and_ladder_takes_what_its_key_names(publisher: Publisher) -> None:
    keys = [lane.routing_key for name in CHANNELS for lane in lanes_of(name)]
    exchanges = [topology.EXCHANGE, topology.FAILED_EXCHANGE, *map(topology.retry_exchange, LEVELS)]
    for exchange in exchanges:
        for key in keys:
            await publisher.publish(Publication(exchange, key, b"{}", {}))


async def test_a_message_that_amqp_cannot_hold_leaves_its_neighbours_their_own_confirms(publisher: Publisher) -> None:
    with pytest.raises(struct.error):
        await publisher.publish(Publication(topology.EXCHANGE, "push", b"{}", {"notify-attempt": 2**63}))
    await publisher.publish(push(1), deadline_s=5)


async def test_a_deleted_queue_is_declared_again_before_the_caller_hears_of_it(publisher: Publisher) -> None:
    channel = await publisher.connection.channel()
    await channel.call(channel.raw.queue_delete, queue="push.queue")
    await publisher.publish(push(1))


async def test_a_deleted_exchange_is_declared_again_and_nothing_pipelined_is_lost(publisher: Publisher) -> None:
    channel = await publisher.connection.channel()
    await channel.call(channel.raw.exchange_delete, exchange=topology.EXCHANGE)
    assert await publisher.publish_all([push(n) for n in range(50)]) == [None] * 50


async def test_a_frozen_broker_costs_a_caller_its_deadline_and_no_more(
    vhost_url: str, rabbitmq: RabbitMQServer
) -> None:
    loop = asyncio.get_running_loop()
    async with publishing(vhost_url, deadline_s=0.5) as publisher:
        rabbitmq.pause()
        try:
            began = loop.time()
            with pytest.raises(PublishUnknown):
                await publisher.publish(push(1))
            assert 0.4 < loop.time() - began < 1.5
        finally:
            rabbitmq.resume()
        await publisher.publish(push(2), deadline_s=10)


async def test_it_reconnects_after_the_broker_dropped_it(publisher: Publisher, rabbitmq: RabbitMQServer) -> None:
    publisher.connection.drop()
    await eventually_async(lambda: publisher.state == "down")
    await publisher.publish(push(1), deadline_s=20)
    assert publisher.state == "up"


async def test_what_was_deleted_while_it_was_away_is_declared_again(
    publisher: Publisher, rabbitmq: RabbitMQServer, vhost: str
) -> None:
    await asyncio.to_thread(rabbitmq.ctl, "delete_vhost", vhost)
    await eventually_async(lambda: publisher.state == "down")
    await asyncio.to_thread(rabbitmq.management.create_vhost, vhost)
    assert await publisher.publish_all([push(n) for n in range(50)], deadline_s=30) == [None] * 50


async def test_a_queue_with_other_arguments_is_named_and_left_alone(vhost_url: str, publisher: Publisher) -> None:
    channel = await publisher.connection.channel()
    await channel.call(channel.raw.queue_delete, queue="sms.queue")
    arguments = topology.lane_arguments() | {"x-delivery-limit": 7}
    await channel.call(channel.raw.queue_declare, queue="sms.queue", durable=True, arguments=arguments)
    other = Publisher(vhost_url, "other", levels_s=LEVELS, deadline_s=5, max_pending=1000)
    other.start()
    failure = await asyncio.wait_for(other.connection.wait_failed(), 10)
    assert isinstance(failure, TopologyMismatch)
    assert "x-delivery-limit" in str(failure)
    assert "sms.queue" in str(failure)
    await other.close()
    answer = await channel.call(channel.raw.queue_declare, queue="sms.queue", passive=True)
    assert answer.method.queue == "sms.queue"


@pytest.mark.parametrize("missing", ["binding", "exchange"])
async def test_a_queue_with_other_arguments_that_is_met_while_publishing_ends_the_connection(
    missing: str, publisher: Publisher
) -> None:
    ladder, queue = topology.retry_exchange(1.0), topology.retry_queue(Lane("push", "medium"), 1.0)
    channel = await publisher.connection.channel()
    await channel.call(channel.raw.queue_delete, queue=queue)
    await channel.call(channel.raw.queue_declare, queue=queue, durable=True, arguments=topology.retry_arguments(2.0))
    if missing == "exchange":
        await channel.call(channel.raw.exchange_delete, exchange=ladder)
    watch = asyncio.create_task(publisher.connection.watch())
    with pytest.raises(PublishFailed):
        await publisher.publish(Publication(ladder, "push", b"{}", {}))
    with pytest.raises(TopologyMismatch, match="x-message-ttl"):
        await asyncio.wait_for(watch, 10)
    assert publisher.state == "down"


async def test_what_was_returned_is_not_unknown_for_want_of_time(publisher: Publisher) -> None:
    """Checks for "unroutable": "unknown" means a silent broker, and the gateway would then refuse all lanes."""
    [failure] = await publisher.publish_all([push(1, key="nobody.is.bound.there")], deadline_s=0.7)
    assert isinstance(failure, PublishUnroutable)
