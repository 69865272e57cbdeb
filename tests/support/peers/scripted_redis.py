"""Runs a server that speaks Redis' protocol and replies as a test tells it, to see how its clients react."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import cast

import hiredis

#: It maps one command's words to the reply's bytes, or to None for silence.
Script = Callable[[list[bytes]], bytes | None]


def ones(words: list[bytes]) -> bytes:
    """Replies ``1`` for each key of a script, ``OK`` for anything else."""
    if words[0] in (b"EVALSHA", b"EVAL"):
        calls = int(words[2])
        return b"*%d\r\n" % calls + b":1\r\n" * calls
    return b"+OK\r\n"


class ScriptedRedis:
    """Counts the ``connections`` made so far; ``commands`` holds every command received."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self.port = 0
        self.open: list[asyncio.Transport] = []

    def say(self, data: bytes) -> None:
        """Sends data unasked, to every client."""
        for transport in self.open:
            transport.write(data)

    def hang_up(self) -> None:
        """Cuts every connection."""
        while self.open:
            self.open.pop().abort()


class _Connection(asyncio.Protocol):
    def __init__(self, redis: ScriptedRedis) -> None:
        self._redis = redis
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._redis.connections += 1
        self._redis.open.append(self._transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (words := self._reader.gets()) is not False:
            self._redis.commands.append(words)
            reply = self._redis.script(words)
            if reply is not None:
                self._transport.write(reply)


@asynccontextmanager
async def scripted_redis(script: Script = ones, tls: SSLContext | None = None) -> AsyncIterator[ScriptedRedis]:
    """Yields a server that listens on its own port until the block ends."""
    redis = ScriptedRedis(script)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(redis), "127.0.0.1", 0, ssl=tls)
    redis.port = server.sockets[0].getsockname()[1]
    try:
        yield redis
    finally:
        server.close()
        redis.hang_up()
        await server.wait_closed()
