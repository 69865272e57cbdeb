"""Checks calls that time out or are cancelled, and what happens to all calls when the client is closed."""

import asyncio
import time

import pytest

from shared.errors import Unavailable
from shared.http.client import HttpClient
from shared.http.connection import Connection
from tests.integration.http.calls import fails_ambiguously, post
from tests.support.peers.raw_http import after, answer, hang, raw_http
from tests.support.waiting import eventually_async


async def test_a_later_request_with_less_time_is_not_given_more(client: HttpClient) -> None:
    async with raw_http(answer(200), hang) as vendor:
        await post(client, vendor.url, timeout_s=30)
        began = time.monotonic()
        assert await fails_ambiguously(client, vendor.url, timeout_s=0.1)
        assert 0.08 <= time.monotonic() - began < 5


async def test_a_later_request_with_more_time_is_given_up_in_the_end(client: HttpClient) -> None:
    async with raw_http(answer(200), hang) as vendor:
        await post(client, vendor.url, timeout_s=0.1)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            async with asyncio.timeout(5):
                await post(client, vendor.url, timeout_s=0.3)
        assert 0.25 <= time.monotonic() - began < 5
        assert vendor.connections == 1


async def test_an_idle_connection_outlives_the_time_of_its_last_request(client: HttpClient) -> None:
    async with raw_http(answer(200)) as vendor:
        await post(client, vendor.url, timeout_s=0.05)
        await asyncio.sleep(0.15)
        await post(client, vendor.url)
        assert vendor.connections == 1


async def test_a_later_request_on_the_connection_gets_all_its_time(client: HttpClient) -> None:
    go = asyncio.Event()
    async with raw_http(answer(200), after(go, answer(201))) as vendor:
        await post(client, vendor.url, timeout_s=0.1)
        call = asyncio.create_task(post(client, vendor.url, timeout_s=30))
        await asyncio.sleep(0.3)  # longer than the first request's time
        go.set()
        assert (await call).status == 201


async def test_cancelling_a_call_closes_its_connection(client: HttpClient) -> None:
    go = asyncio.Event()
    async with raw_http(after(go, answer(500)), answer(202)) as vendor:
        call = asyncio.create_task(post(client, vendor.url))
        await eventually_async(lambda: len(vendor.requests) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go.set()
        assert (await post(client, vendor.url)).status == 202
        assert vendor.connections == 2
        await eventually_async(lambda: vendor.ended == 1)


async def test_cancelling_a_call_that_has_its_answer_leaves_the_connection_to_the_next_one(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sends the next request on the connection between the answer and the moment when the cancelled caller runs."""
    turn = asyncio.Event()
    received = Connection.data_received

    async def next_one(url: str) -> int:
        await turn.wait()
        return (await post(client, url)).status

    def receive_and_cancel(connection: Connection, data: bytes) -> None:
        if not turn.is_set():
            turn.set()
            received(connection, data)
            first.cancel()
        else:
            received(connection, data)

    monkeypatch.setattr(Connection, "data_received", receive_and_cancel)
    async with raw_http(answer(200), answer(202)) as vendor:
        second = asyncio.create_task(next_one(vendor.url))
        first = asyncio.create_task(post(client, vendor.url))
        assert await second == 202
        assert first.cancelled()
        assert [request.connection for request in vendor.requests] == [1, 1]


async def test_closing_the_client_ends_what_is_idle_and_what_is_busy(client: HttpClient) -> None:
    go = asyncio.Event()
    go.set()
    act = after(go, answer(200))
    async with raw_http(act) as vendor:
        await asyncio.gather(post(client, vendor.url), post(client, vendor.url))
        go.clear()
        busy = asyncio.create_task(post(client, vendor.url))
        await eventually_async(lambda: len(vendor.requests) == 3)
        await client.close()
        with pytest.raises(Unavailable) as caught:
            await busy
        assert caught.value.ambiguous
        go.set()
        await eventually_async(lambda: vendor.ended == vendor.connections == 2)
        with pytest.raises(RuntimeError, match="not open"):
            await post(client, vendor.url)
