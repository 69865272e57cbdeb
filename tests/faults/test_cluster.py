"""The cluster of the harness is a real one, and the product behind a balancer survives the loss of the leading node.

One cluster for one test: its start alone takes 15 s. Freezing a node and the rolling restart take a minute each: they
are scenarios of the harness, not tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.servers import RabbitMQServer
from shared.errors import PublishFailed
from tests.faults.cluster import Cluster, private_cluster
from tests.faults.proxy import proxy
from tests.integration.workbench import Bench, ScriptedProvider, quick_settings, running
from tests.waiting import eventually_async

VHOST = "clustered"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with private_cluster(tmp_path) as cluster:
        yield cluster


class Load:
    """Publishes one message after the other until told to stop.

    ``accepted`` are those that were confirmed, ``refused`` the others, which may be stored all the same.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._stopping = False
        self.accepted: set[str] = set()
        self.refused: set[str] = set()

    async def run(self) -> None:
        while not self._stopping:
            request_id = f"r{len(self.accepted) + len(self.refused)}"
            try:
                await self._bench.put(request_id)
                self.accepted.add(request_id)
            except PublishFailed:
                self.refused.add(request_id)
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        self._stopping = True

    async def flows(self, provider: ScriptedProvider) -> None:
        """Return when thirty more have been accepted and delivered."""
        accepted, delivered = len(self.accepted) + 30, len(provider.accepted) + 30
        await eventually_async(
            lambda: len(self.accepted) >= accepted and len(provider.accepted) >= delivered, deadline_s=30
        )


async def test_nothing_is_lost_when_the_node_that_leads_the_queue_is_killed(
    cluster: Cluster, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Back within the moment in which the queue has no leader: RabbitMQ 3.10 refuses such a channel for ever.
    monkeypatch.setattr("shared.broker.connection.backoff_s", lambda tries, draw: 0.02)
    cluster.nodes[0].management.create_vhost(VHOST)
    provider = ScriptedProvider()
    async with proxy(cluster.ports) as balancer:
        settings = quick_settings(_on_port(cluster.nodes[0], balancer.port), redis_url)
        async with running(settings, [provider]) as bench:
            load = Load(bench)
            loading = asyncio.create_task(load.run())
            await load.flows(provider)

            led = await asyncio.to_thread(cluster.leader_of, VHOST, "push.queue")
            assert led is not None
            await asyncio.to_thread(cluster.nodes[led].kill)
            await load.flows(provider)
            leads_now = await asyncio.to_thread(cluster.leader_of, VHOST, "push.queue")
            assert leads_now not in (None, led)

            await asyncio.to_thread(cluster.nodes[led].start)
            await asyncio.to_thread(cluster.wait_whole)
            await load.flows(provider)
            load.stop()
            await loading
            await eventually_async(lambda: load.accepted <= set(provider.accepted), deadline_s=30)
            assert set(provider.accepted) <= load.accepted | load.refused

    def left() -> int:
        return sum(queue.messages for queue in cluster.list_queues(VHOST).values())

    # The counts are as old as a tick: what is still there after a while is there.
    await eventually_async(lambda: left() == 0)


def _on_port(node: RabbitMQServer, port: int) -> str:
    return node.vhost_url(VHOST).replace(f":{node.ports.amqp}/", f":{port}/")
