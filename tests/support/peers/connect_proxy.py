"""Runs an egress proxy that opens tunnels (CONNECT) to one server, regardless of the name that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.peers.listening import listening, pump


@dataclass
class ConnectProxy:
    """Holds the head of every CONNECT in ``asked``. ``reply`` is what it answers, before it opens the tunnel."""

    target: tuple[str, int]
    reply: bytes = b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n"
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            # In two pieces: a client must wait for the whole head.
            for piece in (self.reply[:9], self.reply[9:]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            if self.reply.endswith(b" "):
                await reader.read()
                return
            if b" 200 " in self.reply[:13]:
                there, back = await asyncio.open_connection(*self.target)
                await asyncio.gather(pump(reader, back), pump(there, writer))
        except (OSError, asyncio.IncompleteReadError):
            return  # the client has closed
        finally:
            writer.transport.abort()


@asynccontextmanager
async def connect_proxy(target: str) -> AsyncIterator[ConnectProxy]:
    """Yields a proxy that listens on its own port until the block ends; ``target`` is ``host:port``."""
    host, _, port = target.rpartition(":")
    proxy = ConnectProxy((host, int(port)))
    async with listening(proxy.serve) as proxy.port:
        yield proxy
