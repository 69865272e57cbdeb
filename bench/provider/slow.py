"""Runs a slow provider: it answers every POST after a fixed delay, and remembers when each probe arrived.

``python -m bench.provider.slow PORT DELAY_MS``; ``GET /probes`` answers ``{"probe-1": monotonic seconds}``.
"""

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PROBE = re.compile(rb'"(probe-[a-z0-9-]+)"')
_ANSWER = b'{"name":"projects/p/messages/1"}'


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class SlowProvider(asyncio.Protocol):
    """Serves one connection; requests on it come one after the other (no pipelining)."""

    def __init__(self, delay_s: float, arrivals: dict[str, float]) -> None:
        self._delay_s = delay_s
        self._arrivals = arrivals
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # This is a cast, not an isinstance check: uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or len(body) < (int(length[1]) if length else 0):
            return
        self._received = b""
        if head.startswith(b"GET"):
            self._transport.write(response(json.dumps(self._arrivals).encode()))
        else:
            self._note(body)
            asyncio.get_running_loop().call_later(self._delay_s, self._answer)

    def _note(self, body: bytes) -> None:
        probe = _PROBE.search(body)
        if probe is not None:
            # If a probe is ever sent twice, its first arrival counts.
            self._arrivals.setdefault(probe[1].decode(), time.monotonic())

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(response(_ANSWER))


async def serve(port: int, delay_s: float) -> None:
    arrivals: dict[str, float] = {}
    server = await asyncio.get_running_loop().create_server(
        lambda: SlowProvider(delay_s, arrivals), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
