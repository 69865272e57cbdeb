"""Serves devices with aiohttp, the usual way: a WebSocketResponse per connection, and ``send_str`` for each frame.

python -m bench.peers.aiohttp_node PORT
"""

import asyncio
import sys
from collections import defaultdict

import uvloop
from aiohttp import web

from bench.peers.hearing import HELLO, Batch, hear

connections: defaultdict[str, set[web.WebSocketResponse]] = defaultdict(set)
telling: set[asyncio.Task[None]] = set()


async def handle(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse(heartbeat=20, compress=False, max_msg_size=16 * 1024)
    await connection.prepare(request)
    user_id = request.query["user_id"]
    connections[user_id].add(connection)
    try:
        await connection.send_str(HELLO)
        async for _ in connection:
            pass
    finally:
        connections[user_id].discard(connection)
    return connection


def tell(batch: Batch) -> None:
    task = asyncio.get_running_loop().create_task(send(batch))
    telling.add(task)
    task.add_done_callback(telling.discard)


async def send(batch: Batch) -> None:
    for user_id, frame in batch:
        text = frame.decode()
        for connection in list(connections[user_id]):
            await connection.send_str(text)


async def main(port: int) -> None:
    app = web.Application()
    app.router.add_get("/ws", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await hear(tell)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
