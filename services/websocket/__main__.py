"""Runs the websocket channel: a consumer that stores notifications in inboxes, a node that serves devices, or both."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from services.websocket.inbox import Inbox, builder
from services.websocket.node import Node
from services.websocket.upkeep import Upkeep
from shared.logs import count_lost_lines
from shared.metrics import Metrics
from shared.process.collector import calm_collector
from shared.realtime.wakeup import WakeUps
from shared.redis.batch import Batcher
from shared.settings.settings import Settings
from shared.store.store import Store
from shared.store.threads import CONNECTIONS, StoreThreads
from shared.worker.run import run_process, serve


async def main(settings: Settings) -> None:
    """Opens what the whole process shares, and runs its halves. Raises what ``serve`` raises."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        store = Store(settings.database.url, CONNECTIONS)
        stack.callback(store.close)
        threads = StoreThreads(metrics.store_unavailable)
        stack.push_async_callback(threads.close)
        redis = Batcher(settings.redis.url)
        stack.push_async_callback(redis.close)
        wake_ups = WakeUps(redis, metrics)

        async def consume(on_stop: Callable[[], None]) -> None:
            inbox = Inbox(store, threads, wake_ups, metrics)
            upkeep = Upkeep(store, threads, wake_ups, settings.database.inbox_days)
            providers, beside = {"inbox": builder(inbox)}, {"upkeep": upkeep.run}
            await serve("websocket", providers, settings, metrics, beside=beside, on_stop=on_stop)

        if settings.sockets.role == "consumer":
            await consume(lambda: None)
            return
        node = Node(settings, store, threads, redis, wake_ups, metrics)
        if settings.sockets.role == "sockets":
            count_lost_lines(metrics.log_lines_lost.inc)
            await serve_devices(node)
        else:
            await serve_both(node, consume)


async def serve_devices(node: Node) -> None:
    """Runs the node alone, until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await node.start()
    calm_collector()
    await node.run(stop)


async def serve_both(node: Node, consume: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> None:
    """Runs both halves. Told to stop, both finish at the same time: the consumer its messages, the node its devices."""
    stop = asyncio.Event()
    await node.start()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(node.run(stop))
            await consume(stop.set)
            stop.set()
    except ExceptionGroup as died:
        raise died.exceptions[0] from None


if __name__ == "__main__":
    run_process("websocket", main)
