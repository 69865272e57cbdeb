"""Tests that devices on two nodes stay equal to the store while a node is killed, stopped or cut off from Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import orjson
import pytest
import redis
import websockets
from websockets.exceptions import WebSocketException

from shared.metrics import Metrics
from shared.realtime.wakeup import WakeUps
from shared.redis.batch import Batcher
from shared.store.store import Store
from shared.store.threads import CONNECTIONS, StoreThreads
from shared.store.values import Change, Filter, Owner
from tests.support.realtime.node_process import Follower, NodeProcess
from tests.support.realtime.stage import token
from tests.support.stores import Databases, check_inboxes, new
from tests.support.waiting import eventually_async

USERS = [f"u{number}" for number in range(4)]
DEVICES_PER_USER = 3


class World:
    """Holds two nodes, followers of some users, and a writer."""

    def __init__(
        self, directory: Path, store: Store, threads: StoreThreads, wake_ups: WakeUps, **settings: str
    ) -> None:
        self.nodes = [NodeProcess(directory, f"node{number}", **settings) for number in range(2)]
        self.store, self._threads, self._wake_ups = store, threads, wake_ups
        ports = [node.port for node in self.nodes]
        self.followers = [Follower(user, ports) for user in USERS for _ in range(DEVICES_PER_USER)]
        self.written = 0

    async def write(self, count: int) -> None:
        """Adds notifications, and reads or deletes some, one transaction after the other."""
        for _ in range(count):
            user = random.choice(USERS)
            self.written += 1
            await self._commit(self._insert, [new(user, f"r{self.written}")])
            if self.written % 3 == 0:
                shown = self.store.page(Owner(user), limit=5).items
                ids = [random.choice(shown).id]
                change = self.store.delete if self.written % 2 else self._read
                await self._commit(lambda: [change(Owner(user), ids)])  # noqa: B023
            if self.written % 50 == 0:
                await self._commit(lambda: [self.store.read_all(Owner(user), self.written)])  # noqa: B023

    def _insert(self, batch: list[object]) -> tuple[Change, ...]:
        return self.store.insert(batch).changes  # type: ignore[arg-type]

    def _read(self, owner: Owner, ids: list[int]) -> Change | None:
        return self.store.mark(owner, ids, read=True)

    async def _commit(self, change: Callable[..., object], *arguments: object) -> None:
        changes = await self._threads.write(change, *arguments)
        await self._wake_ups.publish([one for one in changes if one is not None])  # type: ignore[attr-defined]

    async def equal(self) -> bool:
        """Tells whether every device shows what the store has."""
        for follower in self.followers:
            owner = Owner(follower.user)
            ends = self.store.positions([owner])
            if not follower.connected or (ends and follower.position != ends[owner]):
                return False
            rows = self.store.page(owner, Filter("all"), limit=10_000).items
            assert follower.shown == {row.id: row.read_ms is not None for row in rows}
        return True


async def run(
    backend: str,
    databases: Databases,
    redis_url: str,
    directory: Path,
    disturb: Callable[[World], Awaitable[None]],
    **settings: str,
) -> World:
    """Writes while ``disturb`` happens; then every device must be equal to the store. Returns what there was."""
    async with AsyncExitStack() as stack:
        url = stack.enter_context(databases.empty(backend))
        store = Store(url, CONNECTIONS)
        stack.callback(store.close)
        threads = StoreThreads()
        stack.push_async_callback(threads.close)
        batcher = Batcher(redis_url)
        stack.push_async_callback(batcher.close)
        variables = {"DATABASE_URL": url, "REDIS_URL": redis_url, "POSITION_CHECK_S": "1", "DRAIN_S": "1", **settings}
        world = World(directory, store, threads, WakeUps(batcher, Metrics()), **variables)
        for node in world.nodes:
            stack.callback(node.kill)
            await node.wait_ready()
        running = [asyncio.create_task(follower.run()) for follower in world.followers]
        await eventually_async(lambda: all(follower.connected for follower in world.followers))
        writing = asyncio.create_task(world.write(200))
        await disturb(world)
        await writing
        await eventually_async(world.equal, 30)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        check_inboxes(store)
        assert [follower.doubles for follower in world.followers] == [[]] * len(world.followers)
        assert [follower.gaps for follower in world.followers] == [[]] * len(world.followers)
        assert sum(follower.resets for follower in world.followers) == 0
        return world


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_devices_stay_equal_to_the_store_when_a_node_is_killed(
    backend: str, databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    async def kill(world: World) -> None:
        await eventually_async(lambda: world.written > 60)
        world.nodes[0].kill()

    world = await run(backend, databases, redis_url, tmp_path, kill)
    # Some were on the node that was killed, and the others never noticed.
    connections = [follower.connections for follower in world.followers]
    assert max(connections) > 1


async def test_devices_of_a_stopping_node_go_to_the_other(databases: Databases, redis_url: str, tmp_path: Path) -> None:
    async def stop(world: World) -> None:
        await eventually_async(lambda: world.written > 60)
        assert await asyncio.to_thread(world.nodes[0].stop) == 0

    await run("sqlite", databases, redis_url, tmp_path, stop)


async def test_a_cut_subscription_loses_nothing(
    databases: Databases, redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    async def cut(world: World) -> None:
        for at in (40, 80, 120):
            await eventually_async(lambda: world.written > at)  # noqa: B023
            redis_client.client_kill_filter(_type="pubsub")

    # Without the check of positions within this test.
    await run("sqlite", databases, redis_url, tmp_path, cut, POSITION_CHECK_S="3600")


async def test_an_emptied_redis_costs_nobody_his_connection(
    databases: Databases, redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    async def empty(world: World) -> None:
        await eventually_async(lambda: world.written > 60)
        redis_client.flushall()

    world = await run("sqlite", databases, redis_url, tmp_path, empty)
    assert [follower.connections for follower in world.followers] == [1] * len(world.followers)


async def test_no_token_stands_in_a_log(databases: Databases, redis_url: str, tmp_path: Path) -> None:
    with databases.empty("sqlite") as url:
        # Every dialect has something to say then.
        store = Store(url, CONNECTIONS)
        store.insert([new("ann", "r1"), new("bob", "r2")])
        store.close()
        node = NodeProcess(tmp_path, "node", DATABASE_URL=url, REDIS_URL=redis_url, LOG_LEVEL="DEBUG", DRAIN_S="0")
        try:
            await node.wait_ready()
            secrets = [token("ann"), token("bob"), "ticket-that-is-none", "x" * 7000]
            for secret in secrets:
                await show(node.port, secret)
            assert await asyncio.to_thread(node.stop) == 0
        finally:
            node.kill()
        written = node.log.read_text()
    assert "connection_refused" in written
    assert not [part for secret in secrets for part in secret.split(".") if part in written]


async def show(port: int, secret: str) -> None:
    """Shows a secret in every place, also where none belongs."""
    at = f"127.0.0.1:{port}"
    paths = ["/ws", "/ws/ann", "/ws/notifications/", "/ws/notifications", "/nothing"]
    for path in paths:
        for name in ("token", "ticket"):
            with suppress(WebSocketException, OSError):
                async with websockets.connect(f"ws://{at}{path}?{name}={secret}", proxy=None) as device:
                    await device.recv()
    async with websockets.connect(f"ws://{at}/ws", proxy=None) as device:
        await device.send(orjson.dumps({"type": "auth", "token": secret}).decode())
        with suppress(WebSocketException):
            await device.recv()
    async with aiohttp.ClientSession() as client:
        for path in ("/sse", "/poll", "/ws", "/nothing"):
            for shown in ({}, {"Authorization": f"Bearer {secret}"}):
                async with client.get(f"http://{at}{path}?token={secret}", headers=shown) as answer:
                    await answer.content.read(1)
    for line in (b"GET /ws?token=%b HTTP/1.1", b"GET http://[?token=%b HTTP/1.1", b"BREW /sse?token=%b HTTP/9.9"):
        for headers in (b"Upgrade: websocket\r\nX", b"Accept: */*"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(line % secret.encode() + b"\r\nHost: x\r\n" + headers + b"\r\n\r\n")
            await reader.read()
            writer.close()
