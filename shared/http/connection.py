"""One HTTP/1.1 connection, on which one request at a time is under way."""

from __future__ import annotations

import asyncio
import math
import select
from collections.abc import Callable
from typing import cast

import httptools

from shared.errors import Unavailable
from shared.http.response import AnswerReader, Response

#: largest answer that is read, bytes, head included
MAX_ANSWER_BYTES = 1024 * 1024

Outcome = Response | Unavailable
Listener = Callable[["Connection"], None]


class Connection(asyncio.Protocol):
    """``on_idle`` is called when the answer is whole and another request may follow, ``on_lost`` after the end."""

    def __init__(self, on_idle: Listener, on_lost: Listener) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._reader = AnswerReader()
        self._received = 0
        self._poll = select.poll()
        self._deadline = Deadline(self._loop, self._give_up)
        self._waiter: asyncio.Future[Outcome] | None = None
        self._transport: asyncio.Transport | None = None

    def is_quiet(self) -> bool:
        """Whether it is open and the peer has sent nothing, not even a FIN or a reset, that the loop has yet to read.

        In a busy loop that can be a while; a request written meanwhile would be lost, or be answered by what waits.
        """
        return self.is_open() and not self._poll.poll(0)

    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, timeout_s: float) -> Response:
        """Write ``request``, once, and wait for the whole answer. Raises Unavailable, always ambiguous.

        Whoever is cancelled takes the connection along: the answer, should it come, must not meet the next request.
        """
        waiter = self._write(request, timeout_s)
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            # If the answer had come just before, the connection may already carry somebody else's request.
            if self._waiter is waiter:
                self.end("given up")
            raise
        if isinstance(outcome, Unavailable):
            raise outcome
        return outcome

    def end(self, why: str, cause: BaseException | None = None) -> None:
        """Close at once; whoever waits for an answer hears ``why``."""
        self._deadline.stop()
        if self._transport is not None:
            # Not close(): it would first write what nobody wants sent any more, and over TLS wait for the peer.
            self._transport.abort()
        error = Unavailable(f"no answer: {why}", ambiguous=True)
        error.__cause__ = cause
        self._settle(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not an isinstance: uvloop's transports are asyncio's by shape alone.
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("the connection was lost", exc)
        self._transport = None
        self._on_lost(self)

    def eof_received(self) -> None:
        answer = self._reader.end() if self._waiter is not None else None
        if answer is not None:
            self._settle(answer)
        self.end("the connection was closed")

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            # Nobody has asked: the next request would take it for its answer.
            self.end("unasked")
            return
        self._received += len(data)
        try:
            answer = self._reader.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self.end("not an HTTP answer", exc)
            return
        if answer is not None:
            self._deliver(answer)
        elif self._received > MAX_ANSWER_BYTES:
            self.end(f"longer than {MAX_ANSWER_BYTES} bytes")

    def _write(self, request: bytes, timeout_s: float) -> asyncio.Future[Outcome]:
        if self._transport is None or self._waiter is not None:
            raise RuntimeError("not connected, or a request is under way")
        self._waiter = waiter = self._loop.create_future()
        self._received = 0
        self._deadline.set(timeout_s)
        self._transport.write(request)
        return waiter

    def _deliver(self, answer: Response) -> None:
        self._settle(answer)
        # Should the answer come before all of the request was written, nobody knows what the server does with the rest.
        if self._reader.reusable and self._transport is not None and not self._transport.get_write_buffer_size():
            self._on_idle(self)
        else:
            self.end("done")

    def _settle(self, outcome: Outcome) -> None:
        self._deadline.clear()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(outcome)

    def _give_up(self) -> None:
        self.end("the time is up")


class Deadline:
    """How long a connection waits for an answer: calls ``on_passed`` once the time set last has passed.

    One timer serves many requests: it is set anew only when it has run, or would run too late. One timer per request
    would cost a fifth of the whole call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_passed: Callable[[], None]) -> None:
        self._loop = loop
        self._on_passed = on_passed
        self._at = math.inf
        self._looks_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """From now."""
        self._at = at = self._loop.time() + seconds
        if at < self._looks_at:
            self._look_at(at)

    def clear(self) -> None:
        self._at = math.inf

    def stop(self) -> None:
        """Clear it for good."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._looks_at = math.inf
        # What came while this process stood still has been read by now: both loops poll before they run timers.
        if self._at <= self._loop.time():
            self._on_passed()
        elif self._at < math.inf:
            self._look_at(self._at)
