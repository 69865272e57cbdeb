"""Runs a node in the test's own loop, on a real store and a real Redis, and connects devices to it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import orjson
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ops.servers import free_ports
from services.websocket.node import Node
from shared.metrics import Metrics
from shared.realtime.tokens import Tokens
from shared.realtime.wakeup import WakeUps
from shared.redis.batch import Batcher
from shared.settings.load import load_settings
from shared.store.store import Store
from shared.store.threads import CONNECTIONS, StoreThreads
from shared.store.values import Change, Owner, Position
from tests.support.stores import new

KEY = f"one:{'k' * 32}"
PATIENCE_S = 10.0


class Device:
    """Is a device that speaks the native dialect. ``frames`` holds what it was sent and did not ask for."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(orjson.dumps({"type": kind, **fields}).decode())

    async def frame(self) -> dict[str, Any]:
        """Returns the next frame."""
        async with asyncio.timeout(PATIENCE_S):
            frame: dict[str, Any] = orjson.loads(await self.connection.recv())
        return frame

    async def frame_of(self, *kinds: str) -> dict[str, Any]:
        """Returns the next frame of these types; drops those before it."""
        while True:
            frame = await self.frame()
            if frame["type"] in kinds:
                return frame

    async def loaded(self) -> dict[str, Any]:
        """Returns the last frame of the first pull, with the items of all of its frames."""
        items: list[dict[str, Any]] = []
        while True:
            frame = await self.frame_of("missed_notifications")
            items += frame["items"]
            if "offset" in frame:
                return {**frame, "items": items}

    async def end(self) -> int:
        """Returns the code with which the server closes the connection; drops all frames before it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.connection.recv()
                except ConnectionClosed as exc:
                    return 1006 if exc.rcvd is None else exc.rcvd.code

    async def farewell(self) -> dict[str, Any]:
        """Returns the ``disconnect`` frame."""
        return await self.frame_of("disconnect")


class Stage:
    """Holds a node and what it stands on."""

    def __init__(self, node: Node, store: Store, threads: StoreThreads, wake_ups: WakeUps, metrics: Metrics) -> None:
        self.node, self.store, self.wake_ups, self.metrics = node, store, wake_ups, metrics
        self._threads = threads
        self._numbers = itertools.count(1)
        self.stop = asyncio.Event()
        self.running: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.node.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.node.port}"

    async def add(self, user: str = "ann", count: int = 1, *, wake: bool = True, **fields: Any) -> Sequence[Change]:
        """Stores notifications in one transaction, and publishes its wake-up."""
        batch = [new(user, f"r{next(self._numbers)}", **fields) for _ in range(count)]
        inserted = await self._threads.write(self.store.insert, batch)
        if wake:
            await self.wake_ups.publish(inserted.changes)
        return inserted.changes

    async def change(self, change: Any, *arguments: Any, **fields: Any) -> None:
        """Changes something in the store, and publishes its wake-up."""
        made = await self._threads.write(change, *arguments, **fields)
        assert made is not None
        await self.wake_ups.publish([made])

    async def end_of(self, user: str = "ann") -> Position:
        return (await self._threads.read(self.store.positions, [Owner(user)]))[Owner(user)]

    async def connect(
        self,
        path: str = "/ws",
        *,
        user: str | None = "ann",
        resume: Position | None = None,
        **options: Any,
    ) -> Device:
        """Opens a connection and says who it is with a token for ``user``; None: it says nothing."""
        device = Device(await websockets.connect(self.url + path, compression=None, proxy=None, **options))
        if user is not None:
            more = {} if resume is None else {"resume": resume._asdict()}
            await device.send("auth", token=token(user), **more)
        return device

    async def live(self, user: str = "ann", **options: Any) -> Device:
        """Opens a connection, and returns once its first pull is here."""
        device = await self.connect(user=user, **options)
        await device.loaded()
        return device

    def sample(self, name: str, **labels: str) -> float:
        """Returns the value of a metric; 0 if it was never set."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def token(user: str, **fields: Any) -> str:
    keys = load_settings(env_file=None, socket_token_keys=KEY).sockets.token_keys
    return Tokens(keys).sign(user, **fields).text


@asynccontextmanager
async def serving(database_url: str, redis_url: str, **settings: Any) -> AsyncIterator[Stage]:
    """Runs a node; ``settings`` are named like the variables, in lower case."""
    usual = {"socket_token_keys": KEY, "drain_s": 0.2, "position_check_s": 3600}
    chosen = load_settings(
        env_file=None,
        database_url=database_url,
        redis_url=redis_url,
        socket_port=free_ports(1)[0],
        **{**usual, **settings},
    )
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        store = Store(chosen.database.url, CONNECTIONS)
        stack.callback(store.close)
        threads = StoreThreads()
        stack.push_async_callback(threads.close)
        redis = Batcher(redis_url)
        stack.push_async_callback(redis.close)
        wake_ups = WakeUps(redis, metrics)
        stage = Stage(Node(chosen, store, threads, redis, wake_ups, metrics), store, threads, wake_ups, metrics)
        await stage.node.start()
        stage.running = asyncio.create_task(stage.node.run(stage.stop))
        try:
            yield stage
        finally:
            stage.stop.set()
            await stage.running


async def get(url: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """Returns status and JSON of an answer."""
    async with aiohttp.ClientSession() as client, client.get(url, **options) as answer:
        return answer.status, orjson.loads(await answer.read() or b"{}")
