"""Checks that the publisher opens a fresh channel after a refusal: RabbitMQ 3.10 refuses some channels indefinitely."""

from __future__ import annotations

import asyncio

from ops.servers import RabbitMQServer
from shared.broker.publisher import Publication
from shared.errors import PublishRejected
from tests.support.publishing import publishing
from tests.support.waiting import eventually_async

EXCHANGE = "notifications.direct"


def channels(rabbitmq: RabbitMQServer, vhost: str) -> set[str]:
    rows = rabbitmq.ctl("list_channels", "--no-table-headers", "vhost", "pid").splitlines()
    return {row.split("\t")[1] for row in rows if row.startswith(f"{vhost}\t")}


async def test_a_refusal_renews_the_channel_and_the_neighbours_confirms_are_not_lost(
    rabbitmq: RabbitMQServer, vhost: str, vhost_url: str
) -> None:
    full = '{"max-length":1}'
    await asyncio.to_thread(
        rabbitmq.ctl, "set_policy", "-p", vhost, "full", "^push.queue$", full, "--apply-to", "queues"
    )
    async with publishing(vhost_url, deadline_s=5, channels=("push",)) as publisher:
        before = await asyncio.to_thread(channels, rabbitmq, vhost)
        # Publish to both lanes at once: refusals of the full lane must cost the other lane no confirm and make no copy.
        mixed = [Publication(EXCHANGE, key, b"x", {}) for _ in range(1000) for key in ("push", "push.high")]
        results = await publisher.publish_all(mixed)
        assert any(isinstance(result, PublishRejected) for result in results[::2])
        assert set(results[1::2]) == {None}
        await eventually_async(lambda: rabbitmq.list_queues(vhost)["push.high.queue"].messages == 1000, deadline_s=10)

        async def renewed() -> bool:
            now = await asyncio.to_thread(channels, rabbitmq, vhost)
            return len(now) == 1 and now.isdisjoint(before)

        await eventually_async(renewed)
        await publisher.publish(Publication(EXCHANGE, "push.high", b"x", {}))
