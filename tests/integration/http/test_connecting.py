"""Checks calls that end while connecting or before the first byte: never ambiguous, and nothing is sent."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.http.client import HttpClient
from shared.http.connection import Connection
from shared.http.pool import dial
from tests.integration.http.calls import full_backlog, post
from tests.support.peers.raw_http import answer, raw_http
from tests.support.waiting import eventually_async


async def test_a_client_closed_while_it_connects_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    http = HttpClient()
    await http.open()

    async def dial_and_close(*target: Any) -> Connection:
        connection = await dial(*target)
        for pool in http._pools.values():
            pool.close()
        return connection

    monkeypatch.setattr("shared.http.pool.dial", dial_and_close)
    async with raw_http(answer(200)) as vendor:
        with pytest.raises(Unavailable) as caught:
            await post(http, vendor.url)
        assert not caught.value.ambiguous
        await eventually_async(lambda: vendor.ended == vendor.connections == 1)
        assert vendor.requests == []
    await http.close()


async def test_a_connection_that_ends_before_the_request_is_not_ambiguous(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dial_and_lose(*target: Any) -> Connection:
        connection = await dial(*target)
        await eventually_async(lambda: not connection.is_open())
        return connection

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    monkeypatch.setattr("shared.http.pool.dial", dial_and_lose)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    with pytest.raises(Unavailable) as caught:
        await post(client, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert not caught.value.ambiguous
    server.close()
    await server.wait_closed()


async def test_closing_the_client_ends_what_is_connecting() -> None:
    http = HttpClient(connect_timeout_s=30)
    await http.open()
    with full_backlog() as address:
        call = asyncio.create_task(post(http, f"http://127.0.0.1:{address[1]}"))
        await asyncio.sleep(0.05)
        await http.close()
        async with asyncio.timeout(1):
            with pytest.raises(Unavailable) as caught:
                await call
        assert not caught.value.ambiguous


async def test_an_address_that_does_not_answer_does_not_hide_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_backlog() as (_, port):
        listener = socket.create_server(("127.0.0.2", port))
        served = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await reader.read()
            writer.close()
            served.set()

        loop = asyncio.get_running_loop()
        really = loop.getaddrinfo

        async def resolve(host: str, *args: int, **options: int) -> Sequence[object]:
            if host != "vendor.example":
                return await really(host, *args, **options)
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, ("127.0.0.1", port)), (*kind, ("127.0.0.2", port))]

        server = await asyncio.start_server(serve, sock=listener)
        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        http = HttpClient(connect_timeout_s=5)
        await http.open()
        assert (await post(http, f"http://vendor.example:{port}")).status == 204
        await http.close()
        await served.wait()
        server.close()
        await server.wait_closed()
