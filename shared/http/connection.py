"""Sends requests over one HTTP/1.1 connection, one at a time."""

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
    """Speaks HTTP/1.1 with one server.

    Calls ``on_idle`` when an answer is complete and another request may follow, and ``on_lost`` after the end.
    """

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
        """Returns True if the connection is open and no bytes, FIN or reset from the peer wait to be read.

        A busy loop may read them late. A request written before that would be lost, or the waiting bytes would be taken
        for its answer.
        """
        return self.is_open() and not self._poll.poll(0)

    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, timeout_s: float) -> Response:
        """Writes ``request`` once and waits for the whole answer. Raises Unavailable, always ambiguous.

        If the caller is cancelled, the connection is closed: a late answer must not be taken for the next request's.
        """
        waiter = self._write(request, timeout_s)
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            # If the answer came just before the cancellation, the connection may already carry another request.
            if self._waiter is waiter:
                self.end("the call was cancelled")
            raise
        if isinstance(outcome, Unavailable):
            raise outcome
        return outcome

    def end(self, why: str, cause: BaseException | None = None) -> None:
        """Closes the connection at once; a call that waits for an answer raises Unavailable with ``why``."""
        self._deadline.stop()
        if self._transport is not None:
            # Not close(): that would first write the rest of a request that is no longer wanted, and over TLS it would
            # wait for the peer.
            self._transport.abort()
        error = Unavailable(f"no answer: {why}", ambiguous=True)
        error.__cause__ = cause
        self._settle(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not an isinstance check: uvloop's transports do not inherit from asyncio's.
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
            # No request is in flight: the next request would take these bytes for its answer.
            self.end("the server sent data without a request")
            return
        self._received += len(data)
        try:
            answer = self._reader.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self.end("not a valid HTTP answer", exc)
            return
        if answer is not None:
            self._deliver(answer)
        elif self._received > MAX_ANSWER_BYTES:
            self.end(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")

    def _write(self, request: bytes, timeout_s: float) -> asyncio.Future[Outcome]:
        if self._transport is None or self._waiter is not None:
            raise RuntimeError("not connected, or another request is in flight")
        self._waiter = waiter = self._loop.create_future()
        self._received = 0
        self._deadline.set(timeout_s)
        self._transport.write(request)
        return waiter

    def _deliver(self, answer: Response) -> None:
        self._settle(answer)
        # If the answer came before the whole request was written, it is unknown what the server does with the rest.
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
        self.end("the time limit has passed")


class Deadline:
    """Limits the wait for an answer: calls ``on_passed`` when the time that was last set has passed.

    One timer serves many requests: it is set again only after it has run, or if it would run too late. One timer per
    request would cost a fifth of the whole call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_passed: Callable[[], None]) -> None:
        self._loop = loop
        self._on_passed = on_passed
        self._at = math.inf
        self._looks_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Sets the limit, counted from now."""
        self._at = at = self._loop.time() + seconds
        if at < self._looks_at:
            self._look_at(at)

    def clear(self) -> None:
        self._at = math.inf

    def stop(self) -> None:
        """Cancels the timer for good."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._looks_at = math.inf
        # Bytes that came while this process was suspended have been read by now: both loops poll before timers run.
        if self._at <= self._loop.time():
            self._on_passed()
        elif self._at < math.inf:
            self._look_at(self._at)
