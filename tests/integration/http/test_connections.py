"""Checks which connection a request uses: the kept one used last, and never one that is busy, too old or broken."""

import asyncio
import gc
import weakref
from functools import partial

import pytest

from shared.errors import Unavailable
from shared.http.client import HttpClient
from shared.http.connection import Connection, Listener
from tests.integration.http.calls import post
from tests.support.opened import opened
from tests.support.peers.listening import listening
from tests.support.peers.raw_http import RawHttp, after, answer, answer_then_close, raw_http, reset, say
from tests.support.waiting import eventually_async


async def test_no_request_is_written_behind_one_that_is_unanswered(client: HttpClient) -> None:
    go = asyncio.Event()
    async with raw_http(after(go, answer(200))) as vendor:
        calls = [asyncio.create_task(post(client, vendor.url)) for _ in range(10)]
        await eventually_async(lambda: len(vendor.requests) == 10)
        go.set()
        await asyncio.gather(*calls)
        assert {request.connection for request in vendor.requests} == set(range(1, 11))


async def test_the_connection_used_last_is_used_first(client: HttpClient) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    async with raw_http(*(after(gate, answer(200)) for gate in gates), answer(200)) as vendor:
        calls = []
        for number in range(3):
            calls.append(asyncio.create_task(post(client, vendor.url)))
            await eventually_async(partial(_has, vendor, number + 1))
        for number in (0, 2, 1):
            gates[number].set()
            await calls[number]
        for _ in range(3):
            await post(client, vendor.url)
        assert [request.connection for request in vendor.requests[3:]] == [vendor.requests[1].connection] * 3


async def test_a_connection_idle_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.http.client.POOL_IDLE_S", 0.1)
    go = asyncio.Event()
    async with opened(HttpClient()) as client, raw_http(answer(200), after(go, answer(200)), answer(200)) as vendor:
        await post(client, vendor.url)
        slow = asyncio.create_task(post(client, vendor.url))
        await eventually_async(partial(_has, vendor, 2))
        await asyncio.gather(post(client, vendor.url), post(client, vendor.url))
        await asyncio.sleep(0.05)
        # This connection is still young when the others are old.
        go.set()
        await slow
        await eventually_async(lambda: vendor.ended == vendor.connections == 3)
        await post(client, vendor.url)
        assert vendor.connections == 4


async def test_what_nobody_asked_for_is_no_answer_to_the_next_request(client: HttpClient) -> None:
    go = asyncio.Event()

    async def answer_then_more(writer: asyncio.StreamWriter) -> None:
        await answer(200)(writer)
        await go.wait()
        await say(b"HTTP/1.1 500 Late\r\ncontent-length: 4\r\n\r\nlate")(writer)

    async with raw_http(answer_then_more, answer(202)) as vendor:
        await post(client, vendor.url)
        go.set()
        await eventually_async(lambda: vendor.ended == 1)
        assert (await post(client, vendor.url)).status == 202
        assert vendor.connections == 2


async def test_an_answer_before_the_request_was_read_is_an_answer_and_ends_the_connection(client: HttpClient) -> None:
    connections = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await eventually_async(reader.at_eof)
        writer.close()

    async with listening(refuse, limit=1024) as port:
        for _ in range(2):
            assert (await client.post(f"http://127.0.0.1:{port}", b"x" * 20_000_000, {}, 5)).status == 413
        assert len(connections) == 2
        for writer in connections:
            writer.transport.abort()


async def test_a_connection_is_not_taken_in_the_very_turn_in_which_it_ends(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, ending = asyncio.Event(), asyncio.Event()
    received = Connection.data_received

    def receive(connection: Connection, data: bytes) -> None:
        if data == b"unasked":
            ending.set()  # a task that waits for this runs before the loop reports the loss of the connection
        received(connection, data)

    async def answer_then_more(writer: asyncio.StreamWriter) -> None:
        await answer(200)(writer)
        await go.wait()
        await say(b"unasked")(writer)

    monkeypatch.setattr(Connection, "data_received", receive)
    async with raw_http(answer_then_more, answer(202)) as vendor:
        await post(client, vendor.url)
        go.set()
        await ending.wait()
        assert (await post(client, vendor.url)).status == 202
        assert vendor.connections == 2


async def test_a_connection_closed_after_each_answer_is_never_written_to_again(client: HttpClient) -> None:
    async with raw_http(answer_then_close(200)) as vendor:
        for _ in range(20):
            assert (await post(client, vendor.url)).status == 200
        assert vendor.connections == 20


async def test_a_reset_connection_leaves_the_others_alone(client: HttpClient) -> None:
    lose, go = asyncio.Event(), asyncio.Event()
    async with raw_http(after(lose, reset), after(go, answer(200))) as vendor:
        first = asyncio.create_task(post(client, vendor.url))
        await eventually_async(partial(_has, vendor, 1))
        second = asyncio.create_task(post(client, vendor.url))
        await eventually_async(partial(_has, vendor, 2))
        lose.set()
        with pytest.raises(Unavailable):
            await first
        go.set()
        assert (await second).status == 200


async def test_connections_that_are_over_are_forgotten(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Connection]] = []
    begin = Connection.__init__

    def note(connection: Connection, *listeners: Listener) -> None:
        begin(connection, *listeners)
        made.append(weakref.ref(connection))

    monkeypatch.setattr(Connection, "__init__", note)
    async with raw_http(answer_then_close(200)) as vendor:
        for _ in range(5):
            await post(client, vendor.url)

        def all_but_the_last_gone() -> bool:
            gc.collect()
            return not any(reference() for reference in made[:-1])

        assert len(made) == 5
        await eventually_async(all_but_the_last_gone)


def _has(vendor: RawHttp, requests: int) -> bool:
    return len(vendor.requests) == requests
