"""Before the first byte: queueing for a place, and connecting. Nothing that ends there is ambiguous."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest

from shared.errors import Unavailable
from shared.http import HttpClient
from tests.integration.http_client.calls import full_backlog, post
from tests.raw_http import after, answer, hang, raw_http
from tests.waiting import eventually_async


@pytest.fixture
async def narrow() -> AsyncIterator[HttpClient]:
    """A client of one connection."""
    http = HttpClient(connect_timeout_s=0.3, connections_per_origin=1)
    await http.open()
    yield http
    await http.close()


async def test_calls_beyond_the_limit_wait_their_turn(narrow: HttpClient) -> None:
    async with raw_http(answer(200)) as vendor:
        done = []

        async def call(number: int) -> None:
            await narrow.post(f"{vendor.url}/{number}", b"", {}, 5)
            done.append(number)

        await asyncio.gather(*(call(number) for number in range(20)))
        assert done == list(range(20))
        assert [request.path for request in vendor.requests] == [f"/{number}" for number in range(20)]
        assert vendor.connections == 1


async def test_a_call_whose_turn_never_comes_is_not_ambiguous_and_never_sent(narrow: HttpClient) -> None:
    go = asyncio.Event()
    async with raw_http(after(go, answer(200))) as vendor:
        first = asyncio.create_task(post(narrow, vendor.url))
        await eventually_async(lambda: len(vendor.requests) == 1)
        with pytest.raises(Unavailable) as caught:
            await post(narrow, vendor.url, timeout_s=0.1)
        assert not caught.value.ambiguous
        go.set()
        await first
        # The place of the one that went away is not lost.
        assert (await post(narrow, vendor.url, timeout_s=1)).status == 200
        assert len(vendor.requests) == 2


async def test_a_place_given_to_one_who_is_cancelled_goes_on_to_the_next(narrow: HttpClient) -> None:
    """At every step of the hand-over, found by cancelling one turn of the loop later each time."""
    async with raw_http(answer(200)) as vendor:
        for turns in range(12):
            first, second, third = (asyncio.create_task(post(narrow, vendor.url)) for _ in range(3))
            await eventually_async(first.done, poll_s=0) if turns % 2 else await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            second.cancel()
            async with asyncio.timeout(5):
                await asyncio.gather(second, return_exceptions=True)
                assert [(await call).status for call in (first, third)] == [200, 200]


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
        second = asyncio.create_task(post(narrow, vendor.url, timeout_s=0.6))
        await asyncio.sleep(0.4)
        go.set()
        await first
        with pytest.raises(Unavailable) as caught:
            await second
        assert caught.value.ambiguous
        assert loop.time() - began < 0.9


async def test_closing_the_client_ends_what_waits_for_a_place() -> None:
    http = HttpClient(connections_per_origin=1)
    await http.open()
    async with raw_http(hang) as vendor:
        calls = [asyncio.create_task(post(http, vendor.url)) for _ in range(3)]
        await eventually_async(lambda: len(vendor.requests) == 1)
        await http.close()
        async with asyncio.timeout(1):
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [end.ambiguous for end in ends if isinstance(end, Unavailable)] == [True, False, False]
        assert len(vendor.requests) == 1


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
