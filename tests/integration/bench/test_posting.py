"""Tests that requests are posted at their moments, however slowly they are answered."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from bench.errors import BenchFailed
from bench.load import post
from bench.realtime import posting

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 422 Unprocessable Content\r\nContent-Length: 2\r\n\r\nno"


class Server:
    """Answers nothing until ``most`` requests have come, and then everything."""

    def __init__(self, most: int, answer: bytes) -> None:
        self._most, self._answer = most, answer
        self.came_s: list[float] = []
        self._all_here = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"{}"):
                self.came_s.append(asyncio.get_running_loop().time())
                if len(self.came_s) >= self._most:
                    self._all_here.set()
                await self._all_here.wait()
                writer.write(self._answer)
        writer.close()


async def posted(server: Server, due_s: list[float]) -> dict[str, float]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as running:
        port = running.sockets[0].getsockname()[1]
        posts = [(f"r-{number}", post("/", port, b"{}")) for number in range(100)]
        return await asyncio.to_thread(posting.run, port, posts, due_s)


async def test_a_request_does_not_wait_for_the_answer_of_another_one() -> None:
    server = Server(3, ACCEPTED)
    began_s = asyncio.get_running_loop().time()
    due_s = await posted(server, [0.0, 0.1, 0.2])
    assert list(due_s) == ["r-0", "r-1", "r-2"]
    first, second, third = due_s.values()
    assert began_s < first < first + 0.1 == pytest.approx(second)
    assert third == pytest.approx(first + 0.2)
    assert all(came_s >= at_s for came_s, at_s in zip(server.came_s, due_s.values(), strict=True))


async def test_more_requests_than_connections_wait_and_their_time_counts_from_when_they_were_due() -> None:
    server = Server(64, ACCEPTED)
    due_s = await posted(server, [0.0] * 70)
    assert len(server.came_s) == len(due_s) == 70
    assert len(set(due_s.values())) == 1


async def test_a_refused_request_ends_the_measurement() -> None:
    with pytest.raises(BenchFailed, match="status 422: no"):
        await posted(Server(1, REFUSED), [0.0])
