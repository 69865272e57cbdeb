"""Serves devices with ``websockets``, the usual way: one handler per connection, and ``broadcast`` for each frame.

python -m bench.peers.websockets_node PORT
"""

import sys
from collections import defaultdict
from urllib.parse import parse_qs, urlsplit

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.peers.hearing import HELLO, Batch, hear

connections: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def handle(connection: ServerConnection) -> None:
    assert connection.request is not None
    user_id = parse_qs(urlsplit(connection.request.path).query)["user_id"][0]
    connections[user_id].add(connection)
    try:
        await connection.send(HELLO)
        await connection.wait_closed()
    finally:
        connections[user_id].discard(connection)


def tell(batch: Batch) -> None:
    for user_id, frame in batch:
        broadcast(connections[user_id], frame.decode())


async def main(port: int) -> None:
    async with serve(handle, "127.0.0.1", port, compression=None, max_size=16 * 1024, backlog=4096) as server:
        await hear(tell)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
