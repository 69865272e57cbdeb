"""Checks that bytes which came while this process was suspended are read before it writes or times out."""

import asyncio
import socket
import time

import pytest

from shared.http.client import HttpClient
from tests.integration.http.calls import post
from tests.integration.http.threaded_server import threaded_server
from tests.support.waiting import eventually_async


@pytest.mark.parametrize("farewell", [b"", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"])
async def test_an_end_that_the_loop_has_not_read_yet_is_seen_before_writing(
    client: HttpClient, farewell: bytes
) -> None:
    with threaded_server() as server:
        await post(client, server.url)
        # The loop does not run from here to the next request.
        server.accepted[0].sendall(farewell)
        server.accepted[0].close()
        assert (await post(client, server.url)).body == b"ok"
        assert len(server.accepted) == 2


async def test_a_reset_that_the_loop_has_not_read_yet_is_seen_before_writing(client: HttpClient) -> None:
    with threaded_server() as server:
        await post(client, server.url)
        server.accepted[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        server.accepted[0].close()
        assert (await post(client, server.url)).body == b"ok"


async def test_an_answer_that_waits_in_the_socket_is_read_although_the_time_is_over(client: HttpClient) -> None:
    with threaded_server(pause_s=0.05) as server:
        call = asyncio.create_task(post(client, server.url, timeout_s=0.2))
        await eventually_async(lambda: server.requests == 1, poll_s=0.001)
        time.sleep(0.4)  # noqa: ASYNC251  the process is suspended; the answer comes meanwhile
        assert (await call).body == b"ok"
