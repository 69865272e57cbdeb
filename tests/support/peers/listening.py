"""Listens for a peer that a test makes of bare sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(
    serve: Serve, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None, limit: int = 2**16
) -> AsyncIterator[int]:
    """Runs ``serve`` for each connection and yields the port.

    A connection is closed when its ``serve`` ends; those that are left are cancelled at the end of the block.
    ``limit``: bytes that are read ahead of ``serve``.
    """
    running: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.create_task(served(reader, writer)))

    server = await asyncio.start_server(accept, host, port, ssl=tls, limit=limit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()
        # A transport closes its socket in the loop's next turn.
        await asyncio.sleep(0)


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Passes on what arrives, until the end of it."""
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()
    finally:
        if not sink.is_closing():
            sink.transport.abort()
