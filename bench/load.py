"""Makes a light HTTP load: keep-alive connections that each post the next request as soon as the last is answered."""

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import uvloop

from bench.errors import BenchFailed
from bench.percentiles import percentile_ms

#: It is longer than any load lasts.
_DEADLINE_S = 60.0
#: Fewer answers are too few to compute a rate.
_FEWEST_ANSWERS = 20
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class LoadFigures:
    """Holds the figures of a load: ``answers`` counts all; rate and percentiles leave out the warm-up."""

    answers: int
    per_s: float
    p50_ms: float
    p99_ms: float


def post(path: str, port: int, body: bytes) -> bytes:
    """Returns one request, ready to be sent."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def answered(received: bytes, expected: int) -> bool:
    """Tells whether a whole answer is here. Raises BenchFailed unless its status is ``expected``."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    status, length = _STATUS.match(head), _LENGTH.search(head)
    if status is None or length is None:
        raise BenchFailed(f"an answer that this load cannot read: {head[:200]!r}")
    if len(body) < int(length[1]):
        return False
    if int(status[1]) != expected:
        raise BenchFailed(f"status {status[1].decode()}: {body[:500].decode(errors='replace')}")
    return True


def run(port: int, requests: Iterator[bytes], connections: int, expected: int, warm_up_s: float) -> LoadFigures:
    """Sends all of ``requests`` over ``connections``; rates count from ``warm_up_s`` on.

    Raises BenchFailed on an answer with another status than ``expected``, a cut connection, or too few answers.
    """
    return uvloop.run(_run(port, requests, connections, expected, warm_up_s))


def for_seconds(requests: Iterator[bytes], seconds: float) -> Iterator[bytes]:
    """Yields the requests that are taken within ``seconds`` of the first."""
    end = time.monotonic() + seconds
    for request in requests:
        if time.monotonic() > end:
            return
        yield request


async def _run(port: int, requests: Iterator[bytes], connections: int, expected: int, warm_up_s: float) -> LoadFigures:
    loop = asyncio.get_running_loop()
    answers: list[tuple[float, float]] = []
    started = time.monotonic()
    clients = [_Client(requests, expected, answers) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda made=client: made, "127.0.0.1", port)  # type: ignore[misc]
    try:
        async with asyncio.timeout(_DEADLINE_S):
            await asyncio.gather(*(client.finished for client in clients))
    except TimeoutError as late:
        raise BenchFailed(f"{len(answers)} answers, and no more within {_DEADLINE_S:g} s") from late
    measured = [answer for answer in answers if answer[0] > started + warm_up_s]
    if len(measured) < _FEWEST_ANSWERS:
        raise BenchFailed(f"only {len(measured)} answers after the warm-up: too few to measure")
    first, last = measured[0][0], measured[-1][0]
    latencies = [latency_s for _, latency_s in measured]
    return LoadFigures(
        answers=len(answers),
        per_s=(len(measured) - 1) / (last - first),
        p50_ms=percentile_ms(latencies, 50),
        p99_ms=percentile_ms(latencies, 99),
    )


class _Client(asyncio.Protocol):
    """Drives one connection. ``finished`` resolves when there is nothing more to send and everything is answered."""

    def __init__(self, requests: Iterator[bytes], expected: int, answers: list[tuple[float, float]]) -> None:
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._expected = expected
        self._answers = answers
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # This is a cast, not an isinstance check: uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            if not answered(self._received, self._expected):
                return
        except BenchFailed as failed:
            self._fail(str(failed))
            return
        now = time.monotonic()
        self._answers.append((now, now - self._sent_at))
        self._received = b""
        self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was cut: {exc}")

    def _send_next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self.finished.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.monotonic()
        self._transport.write(request)

    def _fail(self, what: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(BenchFailed(what))
            self._transport.close()
