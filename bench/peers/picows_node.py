"""Serves devices with picows, as its documentation shows: a listener per connection, and ``send`` for each frame.

python -m bench.peers.picows_node PORT
"""

import sys
from collections import defaultdict
from urllib.parse import parse_qs, urlsplit

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.peers.hearing import HELLO, Batch, hear

transports: defaultdict[str, set[WSTransport]] = defaultdict(set)


class Listener(WSListener):  # type: ignore[misc]
    def __init__(self, user_id: str) -> None:
        super().__init__()
        self._user_id = user_id

    def on_ws_connected(self, transport: WSTransport) -> None:
        transports[self._user_id].add(transport)
        transport.send(WSMsgType.TEXT, HELLO.encode())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        transports[self._user_id].discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


def listener_of(request: WSUpgradeRequest) -> Listener:
    return Listener(parse_qs(urlsplit(request.path.decode()).query)["user_id"][0])


def tell(batch: Batch) -> None:
    for user_id, frame in batch:
        for transport in transports[user_id]:
            transport.send(WSMsgType.TEXT, frame)


async def main(port: int) -> None:
    server = await ws_create_server(
        listener_of, "127.0.0.1", port, enable_auto_ping=True, max_frame_size=16 * 1024, backlog=4096
    )
    await hear(tell)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
