"""Runs a mail server that accepts everything and keeps nothing: ``python -m bench.provider.smtp PORT``."""

import asyncio
import sys
from typing import cast

import uvloop

_REPLIES = {
    b"EHLO": b"250-bench\r\n250 SIZE 33554432\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}
_OK = b"250 OK\r\n"


class MailSink(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = b""
        self._in_data = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # This is a cast, not an isinstance check: uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 bench\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._next_step():
            pass

    def _next_step(self) -> bool:
        """Answers one command, or one whole message. Returns False when more bytes are needed."""
        end = b"\r\n.\r\n" if self._in_data else b"\r\n"
        step, separator, rest = self._received.partition(end)
        if not separator:
            return False
        self._received = rest
        verb = b"" if self._in_data else step[:4].upper()
        self._in_data = verb == b"DATA"
        self._transport.write(_REPLIES.get(verb, _OK))
        if verb == b"QUIT":
            self._transport.close()
        return True


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(MailSink, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
