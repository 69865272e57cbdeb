"""Checks that closing a connection works while it is still being opened."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from shared.broker.connection import Connection


async def test_a_connection_that_is_closed_while_it_is_being_opened_closes_its_socket_at_once() -> None:
    accepted, hung_up = asyncio.Event(), asyncio.Event()
    stumbled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: stumbled.append(context))

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        while await reader.read(100):
            pass
        hung_up.set()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = Connection(f"amqp://guest:guest@127.0.0.1:{port}/", "test", heartbeat_s=10)
    connection.start()
    async with asyncio.timeout(5):
        await accepted.wait()
    began = time.monotonic()
    await connection.close()
    async with asyncio.timeout(5):
        await hung_up.wait()
    assert time.monotonic() - began < 1
    assert not stumbled
    server.close()
    await server.wait_closed()
