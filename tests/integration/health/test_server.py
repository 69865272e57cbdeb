"""Tests that a worker's port answers whoever asks, while others hold connections without asking anything."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from ops.servers import free_ports
from shared.health import server
from shared.health.server import MOST_CONNECTIONS, WorkerHttp
from shared.metrics import Metrics


@asynccontextmanager
async def running() -> AsyncIterator[int]:
    port = free_ports(1)[0]
    http = WorkerHttp("127.0.0.1", port, "PUSH_PORT", lambda: {"status": "healthy"}, Metrics())
    await http.start()
    try:
        yield port
    finally:
        await http.stop()


async def _hold(port: int, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    return reader, writer


async def _status(port: int) -> int:
    timeout = aiohttp.ClientTimeout(total=3)
    async with (
        aiohttp.ClientSession(timeout=timeout) as client,
        client.get(f"http://127.0.0.1:{port}/health") as answer,
    ):
        return answer.status


HEADS = [
    b"",
    b"GET /health HT",
    b"GET /health HTTP/1.1\r\nHost: x\r\n",
    b"POST /health HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
]


@pytest.mark.parametrize("head", HEADS)
async def test_many_connections_that_ask_nothing_keep_no_probe_out(head: bytes) -> None:
    async with running() as port:
        held = [await _hold(port, head) for _ in range(3 * MOST_CONNECTIONS)]
        assert await _status(port) == 200
        ended = 0
        for reader, _ in held[: 2 * MOST_CONNECTIONS]:
            async with asyncio.timeout(3):
                with contextlib.suppress(ConnectionError):
                    await reader.read()
                ended += 1
        assert ended == 2 * MOST_CONNECTIONS
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize("head", HEADS)
async def test_a_connection_ends_although_its_client_goes_on(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LIFE_S", 0.3)
    async with running() as port:
        reader, writer = await _hold(port, head)
        async with asyncio.timeout(3):
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(b"X")
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await reader.read(100)
        writer.close()


async def test_each_connection_serves_one_request() -> None:
    async with running() as port:
        reader, writer = await _hold(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\r\nConnection: close\r\n" in answer
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
