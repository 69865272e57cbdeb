"""Tests that the proxy of docs/containers.md passes what devices and nodes say, and writes no token into its log."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from shared.metrics import Metrics
from shared.realtime.wakeup import WakeUps
from shared.redis.batch import Batcher
from shared.store.store import Store
from tests.support.realtime.node_process import Follower, NodeProcess
from tests.support.realtime.proxy import Proxy, in_front_of
from tests.support.realtime.stage import PATIENCE_S, token
from tests.support.stores import Databases, new
from tests.support.waiting import eventually_async


class Site:
    """Holds two nodes behind a proxy, and what they stand on."""

    def __init__(self, nodes: list[NodeProcess], proxy: Proxy, store: Store, wake_ups: WakeUps) -> None:
        self.nodes, self.proxy = nodes, proxy
        self._store, self._wake_ups = store, wake_ups
        self._numbers = itertools.count(1)

    async def add(self) -> int:
        """Stores a notification for ann, and announces it. Returns its id."""
        inserted = self._store.insert([new("ann", f"r{next(self._numbers)}")])
        await self._wake_ups.publish(inserted.changes)
        return inserted.changes[0].rows[0].id


@pytest.fixture
async def site(databases: Databases, redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        url = stack.enter_context(databases.empty("sqlite"))
        store = Store(url)
        stack.callback(store.close)
        batcher = Batcher(redis_url)
        stack.push_async_callback(batcher.close)
        settings = {"DATABASE_URL": url, "REDIS_URL": redis_url, "POSITION_CHECK_S": "3600"}
        nodes = [NodeProcess(tmp_path, f"node{number}", **settings) for number in range(2)]
        for node in nodes:
            stack.callback(node.kill)
            await node.wait_ready()
        # For the proxy a node is as good a gateway as any: it answers /health.
        proxy = stack.enter_context(in_front_of([node.port for node in nodes], nodes[1].port, tmp_path))
        yield Site(nodes, proxy, store, WakeUps(batcher, Metrics()))


async def test_devices_come_to_any_node_and_go_on_at_another_one(site: Site) -> None:
    devices = [Follower("ann", [site.proxy.port]) for _ in range(4)]
    running = [asyncio.create_task(device.run()) for device in devices]
    try:
        await eventually_async(lambda: all(device.connected for device in devices))
        first = await site.add()
        await eventually_async(lambda: all(first in device.shown for device in devices))
        site.nodes[0].kill()
        second = await site.add()
        await eventually_async(lambda: all(second in device.shown for device in devices), 20)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    assert max(device.connections for device in devices) > 1, "no device was on the node that was killed"
    assert [device.doubles for device in devices] == [[]] * len(devices)
    assert sum(device.resets for device in devices) == 0


async def test_events_arrive_at_once_and_no_token_is_in_the_log(site: Site) -> None:
    url = f"http://127.0.0.1:{site.proxy.port}"
    shown = token("ann")
    # The first one of all would come by a pull.
    await site.add()
    async with aiohttp.ClientSession() as client, client.get(f"{url}/sse?token={shown}") as answer:
        assert answer.content_type == "text/event-stream"
        async with asyncio.timeout(PATIENCE_S):
            await answer.content.readuntil(b"event: missed_notifications\n")
            id_ = await site.add()
            await answer.content.readuntil(b"event: notification\n")
            event = await answer.content.readuntil(b"\n\n")
        assert f'"id":{id_}'.encode() in event
    await eventually_async(lambda: "/sse" in site.proxy.log.read_text())
    assert shown[:20] not in site.proxy.log.read_text()


async def test_a_poll_and_everything_else_pass(site: Site) -> None:
    url = f"http://127.0.0.1:{site.proxy.port}"
    await site.add()
    headers = {"Authorization": f"Bearer {token('ann')}"}
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{url}/poll", headers=headers) as answer:
            assert (answer.status, len((await answer.json())["items"])) == (200, 1)
        async with client.get(f"{url}/health") as answer:
            assert answer.status == 200
