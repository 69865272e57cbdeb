"""Checks the publisher with a real broker: a confirmed message is stored, and each other one gets an error."""

from __future__ import annotations

import asyncio
import shlex
import struct
from collections.abc import AsyncIterator

import pytest

from ops.servers import RabbitMQServer
from shared.broker import topology
from shared.broker.publisher import Publication, Publisher
from shared.errors import PublishFailed, PublishUnknown, PublishUnroutable, TopologyMismatch
from shared.failed.entry import read_entry
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
    lanes = [lane for name in CHANNELS for lane in lanes_of(name)]
    exchanges = [topology.EXCHANGE, topology.FAILED_EXCHANGE, *map(topology.retry_exchange, LEVELS)]
    for exchange in exchanges:
        for lane in lanes:
            await publisher.publish(Publication(exchange, lane.routing_key, b"{}", {}))
    channel = await publisher.connection.channel()
    for lane in lanes:
        await publisher.publish(Publication(topology.EXCHANGE, f"{lane.channel}.{lane.priority}", b"{}", {}))
        answer = await channel.call(channel.raw.queue_declare, queue=lane.queue, passive=True)
        assert answer.method.message_count == 2


@pytest.mark.parametrize("key", ["push.urgent", "PUSH", "", "push.queue", "fax", "#"])
async def test_a_message_with_an_unknown_routing_key_is_kept_in_failed_queue(publisher: Publisher, key: str) -> None:
    await publisher.publish(push(1, key))
    channel = await publisher.connection.channel()
    answer = await channel.get(topology.FAILED_QUEUE)
    assert answer is not None
    method, properties, body = answer
    # These tell an operator what happened: the broker adds nothing to such a message.
    assert (method.exchange, method.routing_key, body) == (topology.EXCHANGE, key, b"{}")
    entry = read_entry(body, properties.headers, method.routing_key, None, method.exchange)
    assert (entry.reason, entry.lane) == ("unroutable", None)


@pytest.mark.parametrize("lane", lanes_of("push"), ids=str)
async def test_a_lane_without_its_queue_is_not_served_by_failed_queue(publisher: Publisher, lane: Lane) -> None:
    """Publishes as another service does, beside the publisher that would declare the queue again after a return."""
    channel = await publisher.connection.channel()
    returned: list[str | None] = []
    channel.raw.add_on_return_callback(lambda _channel, method, _properties, _body: returned.append(method.routing_key))
    await channel.call(channel.raw.queue_delete, queue=lane.queue)
    for key in lane.routing_keys:
        channel.raw.basic_publish(topology.EXCHANGE, key, b"{}", mandatory=True)
    await eventually_async(lambda: returned == list(lane.routing_keys))
    assert await channel.get(topology.FAILED_QUEUE) is None


async def test_an_exchange_of_an_earlier_version_serves_and_a_policy_adds_what_it_lacks(
    vhost_url: str, vhost: str, rabbitmq: RabbitMQServer, publisher: Publisher
) -> None:
    channel = await publisher.connection.channel()
    await channel.call(channel.raw.exchange_delete, exchange=topology.EXCHANGE)
    await channel.call(channel.raw.exchange_declare, exchange=topology.EXCHANGE, exchange_type="direct", durable=True)
    async with publishing(vhost_url) as other:
        await other.publish(push(1))
        with pytest.raises(PublishUnroutable):
            await other.publish(push(2, "push.urgent"), deadline_s=1)
        _program, *words = shlex.split(topology.policy_command(vhost))
        await asyncio.to_thread(rabbitmq.ctl, *words)

        async def is_kept() -> bool:
            try:
                await other.publish(push(3, "push.urgent"), deadline_s=1)
            except PublishUnroutable:
                return False
            return await channel.get(topology.FAILED_QUEUE) is not None

        await eventually_async(is_kept)
    # Processes that start while the policy is in force leave it alone.
    async with publishing(vhost_url) as third:
        await third.publish(push(4))


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
    await asyncio.to_thread(rabbitmq.management.delete_vhost, vhost)
    await eventually_async(lambda: publisher.state == "down")
    await asyncio.to_thread(rabbitmq.management.create_vhost, vhost)
    assert await publisher.publish_all([push(n) for n in range(50)], deadline_s=30) == [None] * 50


async def test_queues_with_other_arguments_are_all_named_and_left_alone(
    vhost_url: str, vhost: str, publisher: Publisher
) -> None:
    channel = await publisher.connection.channel()
    classic = await publisher.connection.channel()
    await channel.call(channel.raw.queue_delete, queue="sms.queue")
    arguments = topology.lane_arguments() | {"x-delivery-limit": 7}
    await channel.call(channel.raw.queue_declare, queue="sms.queue", durable=True, arguments=arguments)
    await classic.call(classic.raw.queue_delete, queue="retry.push.5s.queue")
    await classic.call(classic.raw.queue_declare, queue="retry.push.5s.queue", durable=True)
    other = Publisher(vhost_url, "other", levels_s=LEVELS, deadline_s=5, max_pending=1000)
    other.start()
    failure = await asyncio.wait_for(other.connection.wait_failed(), 10)
    assert isinstance(failure, TopologyMismatch)
    assert "x-delivery-limit" in str(failure)
    for queue in ("sms.queue", "retry.push.5s.queue"):
        assert f"queue '{queue}'" in str(failure)
        assert f"rabbitmqctl -p {vhost} delete_queue --if-empty {queue}" in str(failure)
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
    nobody_is_bound = Publication(topology.retry_exchange(LEVELS[0]), "nobody.is.bound.there", b"{}", {})
    [failure] = await publisher.publish_all([nobody_is_bound], deadline_s=0.7)
    assert isinstance(failure, PublishUnroutable)
