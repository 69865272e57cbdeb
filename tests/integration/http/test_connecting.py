"""Checks calls that end while connecting or before the first byte: never ambiguous, and nothing is sent."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from shared.http.client import HttpClient
from shared.http.connection import Connection
from shared.http.pool import dial
from tests.integration.http.calls import fails_ambiguously, full_backlog, post
from tests.support.opened import opened
from tests.support.peers.listening import listening
from tests.support.peers.raw_http import answer, raw_http
from tests.support.waiting import eventually_async


async def test_a_client_closed_while_it_connects_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dial_and_close(*target: Any) -> Connection:
        connection = await dial(*target)
        for pool in http._pools.values():
            pool.close()
        return connection

    monkeypatch.setattr("shared.http.pool.dial", dial_and_close)
    async with opened(HttpClient()) as http, raw_http(answer(200)) as vendor:
        assert not await fails_ambiguously(http, vendor.url)
        await eventually_async(lambda: vendor.ended == vendor.connections == 1)
        assert vendor.requests == []


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
    async with listening(serve) as port:
        assert not await fails_ambiguously(client, f"http://127.0.0.1:{port}")


async def test_closing_the_client_ends_what_is_connecting() -> None:
    async with opened(HttpClient(connect_timeout_s=30)) as http:
        with full_backlog() as address:
            call = asyncio.create_task(fails_ambiguously(http, f"http://127.0.0.1:{address[1]}"))
            await asyncio.sleep(0.05)
            await http.close()
            assert not await asyncio.wait_for(call, 1)


async def test_an_address_that_does_not_answer_does_not_hide_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_backlog() as (_, port):

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await reader.read()

        loop = asyncio.get_running_loop()
        really = loop.getaddrinfo

        async def resolve(host: str, *args: int, **options: int) -> Sequence[object]:
            if host != "vendor.example":
                return await really(host, *args, **options)
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, ("127.0.0.1", port)), (*kind, ("127.0.0.2", port))]

        async with listening(serve, host="127.0.0.2", port=port), opened(HttpClient(connect_timeout_s=5)) as http:
            monkeypatch.setattr(loop, "getaddrinfo", resolve)
            assert (await post(http, f"http://vendor.example:{port}")).status == 204
