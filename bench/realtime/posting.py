"""Posts requests at a given rate, whether the answers come or not: a server that falls behind cannot slow it down."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import cast

import uvloop

from bench.errors import BenchFailed
from bench.load import answered

_CONNECTIONS = 64
_ANSWERED_S = 30.0
_ACCEPTED = 202

#: a request_id, and the request
Post = tuple[str, bytes]


def moments(per_s: float, seconds: float, chance: random.Random) -> Iterator[float]:
    """Yields when requests are due, seconds from the beginning on: at random, as those of independent senders are."""
    at_s = chance.expovariate(per_s)
    while at_s < seconds:
        yield at_s
        at_s += chance.expovariate(per_s)


def run(port: int, posts: Iterable[Post], due_s: Iterable[float]) -> dict[str, float]:
    """Sends a request at each of ``due_s``. Returns when each was due: request_id -> time of the monotonic clock.

    It counts from the moment at which a request was due: if no connection is free then, that is a part of its time.
    Raises BenchFailed if one is not accepted.
    """
    return uvloop.run(_run(port, posts, due_s))


async def _run(port: int, posts: Iterable[Post], due_s: Iterable[float]) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    poster = _Poster()
    lines = [_Line(poster) for _ in range(_CONNECTIONS)]
    try:
        for line in lines:
            await loop.create_connection(lambda made=line: made, "127.0.0.1", port)  # type: ignore[misc]
        return await _post_all(poster, posts, due_s)
    finally:
        for line in lines:
            line.close()
        # The loop must not end before its connections.
        await asyncio.gather(*(line.lost for line in lines))


async def _post_all(poster: "_Poster", posts: Iterable[Post], due_s: Iterable[float]) -> dict[str, float]:
    began_s, due = time.monotonic(), {}
    for moment_s, (request_id, request) in zip(due_s, posts, strict=False):
        due[request_id] = began_s + moment_s
        await asyncio.sleep(max(0.0, due[request_id] - time.monotonic()))
        poster.post(request)
    try:
        async with asyncio.timeout(_ANSWERED_S):
            await poster.finish()
    except TimeoutError:
        raise BenchFailed(f"not everything that was posted was answered within {_ANSWERED_S:g} s") from None
    return due


class _Poster:
    """Gives each request to a free connection, or keeps it until there is one."""

    def __init__(self) -> None:
        #: all of them take turns, because the gateway ends a connection that is idle for long
        self.free: deque[_Line] = deque()
        self._waiting: deque[bytes] = deque()
        self._unanswered = 0
        self._all_posted = False
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def post(self, request: bytes) -> None:
        if self._finished.done():
            self._finished.result()
        self._unanswered += 1
        if self.free:
            self.free.popleft().send(request)
        else:
            self._waiting.append(request)

    async def finish(self) -> None:
        """Waits until everything is answered. Raises BenchFailed."""
        self._all_posted = True
        self._finish_if_over()
        await self._finished

    def answered(self, line: "_Line") -> None:
        self._unanswered -= 1
        if self._waiting:
            line.send(self._waiting.popleft())
        else:
            self.free.append(line)
        self._finish_if_over()

    def fail(self, what: str) -> None:
        if not self._finished.done():
            self._finished.set_exception(BenchFailed(what))

    def _finish_if_over(self) -> None:
        if self._all_posted and not self._unanswered and not self._finished.done():
            self._finished.set_result(None)


class _Line(asyncio.Protocol):
    """Is one keep-alive connection: it has at most one request in progress."""

    def __init__(self, poster: _Poster) -> None:
        #: is done once the connection has ended
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._poster = poster
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._poster.free.append(self)

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is None:
            self.lost.set_result(None)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            if not answered(self._received, _ACCEPTED):
                return
        except BenchFailed as failed:
            self._poster.fail(str(failed))
            return
        self._received = b""
        self._poster.answered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)
        self._poster.fail(f"the connection was cut: {exc}")
