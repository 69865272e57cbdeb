"""Runs a load balancer: it gives each connection to the next of some servers on which anybody listens."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

from tests.support.ending import end_everything
from tests.support.peers.listening import listening, pump


@contextmanager
def balancer(ports: Sequence[int]) -> Iterator[int]:
    """Yields the port of a balancer, which runs in a thread of its own, before servers at the ports of this machine."""
    turns = deque(ports)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(len(turns)):
            turns.rotate(-1)
            try:
                there, back = await asyncio.open_connection("127.0.0.1", turns[0])
            except ConnectionError:
                continue
            await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)
            return

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()
    try:
        yield asyncio.run_coroutine_threadsafe(stack.enter_async_context(listening(serve)), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
        asyncio.run_coroutine_threadsafe(end_everything(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
