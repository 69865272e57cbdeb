"""Checks calls that wait for a place or for a connection: if they end there, they are never ambiguous."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from shared.errors import Unavailable
from shared.http.client import HttpClient
from shared.http.connection import Connection
from shared.http.pool import Pool
from tests.integration.http.calls import fails_ambiguously, post
from tests.support.opened import opened
from tests.support.peers.raw_http import after, answer, hang, raw_http, say
from tests.support.waiting import eventually_async


@pytest.fixture
async def narrow() -> AsyncIterator[HttpClient]:
    """Yields a client with at most one connection."""
    async with opened(HttpClient(connect_timeout_s=0.3, connections_per_origin=1)) as http:
        yield http


async def test_calls_beyond_the_limit_wait_their_turn(narrow: HttpClient) -> None:
    async with raw_http(answer(200)) as vendor:
        done: list[int] = []
        for _ in range(3):
            await post(narrow, vendor.url)

        async def call(number: int) -> None:
            await narrow.post(f"{vendor.url}/{number}", b"", {}, 5)
            done.append(number)

        await asyncio.gather(*(call(number) for number in range(20)))
        assert done == list(range(20))
        assert [request.path for request in vendor.requests[3:]] == [f"/{number}" for number in range(20)]
        assert vendor.connections == 1


async def test_a_call_whose_turn_never_comes_is_not_ambiguous_and_never_sent(narrow: HttpClient) -> None:
    go = asyncio.Event()
    async with raw_http(after(go, answer(200))) as vendor:
        first = asyncio.create_task(post(narrow, vendor.url))
        await eventually_async(lambda: len(vendor.requests) == 1)
        assert not await fails_ambiguously(narrow, vendor.url, timeout_s=0.1)
        go.set()
        await first
        # The place of the call that timed out is not lost.
        assert (await post(narrow, vendor.url, timeout_s=1)).status == 200
        assert len(vendor.requests) == 2


async def test_a_place_given_to_one_who_is_cancelled_goes_on_to_the_next(
    narrow: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = Pool.leave

    def leave_and_cancel(pool: Pool) -> None:
        leave(pool)
        second.cancel()

    monkeypatch.setattr(Pool, "leave", leave_and_cancel)
    async with raw_http(answer(200)) as vendor, asyncio.timeout(5):
        first, second, third = (asyncio.create_task(post(narrow, vendor.url)) for _ in range(3))
        assert (await first).status == 200
        assert (await third).status == 200
        assert second.cancelled()
        assert len(vendor.requests) == 2


async def test_nobody_overtakes_those_who_wait(narrow: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks it for the moment when the connection is idle already and its place is just about to be passed on."""
    done: list[str] = []

    async def call(name: str) -> None:
        await post(narrow, vendor.url)
        done.append(name)

    async def come_late() -> None:
        await answered.wait()
        await call("late")

    answered = asyncio.Event()
    received = Connection.data_received

    def receive(connection: Connection, data: bytes) -> None:
        answered.set()
        received(connection, data)

    monkeypatch.setattr(Connection, "data_received", receive)
    async with raw_http(answer(200)) as vendor:
        await asyncio.gather(come_late(), call("first"), call("second"))
        assert (done, vendor.connections) == (["first", "second", "late"], 1)


async def test_a_failed_connection_gives_its_place_back(narrow: HttpClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for _ in range(5):
            with pytest.raises(Unavailable, match="no connection"):
                await post(narrow, f"http://127.0.0.1:{unused.getsockname()[1]}", timeout_s=1)


async def test_the_time_spent_waiting_counts(narrow: HttpClient) -> None:
    go = asyncio.Event()
    async with raw_http(after(go, answer(200)), hang) as vendor:
        first = asyncio.create_task(post(narrow, vendor.url))
        await eventually_async(lambda: len(vendor.requests) == 1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        second = asyncio.create_task(fails_ambiguously(narrow, vendor.url, timeout_s=0.6))
        await asyncio.sleep(0.4)
        go.set()
        await first
        assert await second
        assert loop.time() - began < 0.9


async def test_the_time_spent_waiting_is_taken_from_the_time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dial_no_more(*_: object) -> Connection:
        await asyncio.sleep(30)
        raise AssertionError("connected")

    go = asyncio.Event()
    last = say(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
    client = opened(HttpClient(connect_timeout_s=30, connections_per_origin=1))
    async with client as http, raw_http(after(go, last)) as vendor:
        first = asyncio.create_task(post(http, vendor.url))
        await eventually_async(lambda: len(vendor.requests) == 1)
        monkeypatch.setattr("shared.http.pool.dial", dial_no_more)
        loop = asyncio.get_running_loop()
        began = loop.time()
        second = asyncio.create_task(fails_ambiguously(http, vendor.url, timeout_s=1))
        await asyncio.sleep(0.8)
        go.set()
        await first
        assert not await second
        assert loop.time() - began < 1.5


async def test_closing_the_client_ends_what_waits_for_a_place() -> None:
    async with opened(HttpClient(connections_per_origin=1)) as http, raw_http(hang) as vendor:
        calls = [asyncio.create_task(post(http, vendor.url)) for _ in range(3)]
        await eventually_async(lambda: len(vendor.requests) == 1)
        await http.close()
        async with asyncio.timeout(1):
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [end.ambiguous for end in ends if isinstance(end, Unavailable)] == [True, False, False]
        assert len(vendor.requests) == 1
