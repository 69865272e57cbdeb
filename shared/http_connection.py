"""One HTTP/1.1 connection, on which one request at a time is under way."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

import httptools

from shared.errors import Unavailable
from shared.http_answer import AnswerReader, Response

#: largest answer that is read, bytes, head included
MAX_ANSWER_BYTES = 1024 * 1024
#: how much longer a late answer is waited for when the process itself may have stood still, seconds
GRACE_S = 0.02

Outcome = Response | Unavailable
Listener = Callable[["Connection"], None]


class Connection(asyncio.Protocol):
    """``on_idle`` is called when the whole answer is there and another request may follow; ``on_lost`` after the end.

    Once ``closed``, it never comes back.
    """

    def __init__(self, on_idle: Listener, on_lost: Listener) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._reader = AnswerReader()
        self._received = 0
        self._poll = select.poll()
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[Outcome] | None = None
        self._transport: asyncio.Transport | None = None
        self.closed = True

    def is_quiet(self) -> bool:
        """Whether the peer has sent nothing, not even a FIN or a reset, that the loop has yet to read.

        In a busy loop that can be a while; a request written meanwhile would be lost, or be answered by what waits.
        """
        return not self.closed and not self._poll.poll(0)

    def ask(self, request: bytes, timeout_s: float) -> asyncio.Future[Outcome]:
        """Write ``request``, once. The future gets the answer, or an Unavailable to raise, always ambiguous."""
        if self._transport is None or self._waiter is not None:
            raise RuntimeError("a request is under way here")
        self._waiter = waiter = self._loop.create_future()
        self._timer = self._loop.call_later(timeout_s, self._look_once_more, timeout_s)
        self._received = 0
        self._transport.write(request)
        return waiter

    def forget(self, waiter: asyncio.Future[Outcome]) -> None:
        """Nobody waits any more: the answer, should it come, must not meet the next request."""
        if self._waiter is waiter:
            self.end("given up")

    def end(self, why: str, cause: BaseException | None = None) -> None:
        """Close at once; whoever waits for an answer hears ``why``."""
        self.closed = True
        if self._transport is not None:
            # Not close(): it would first write what nobody wants sent any more, and over TLS wait for the peer.
            self._transport.abort()
        self._settle(_unanswered(why, cause))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not an isinstance: uvloop's transports are asyncio's by shape alone.
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.closed = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("the connection was lost", exc)
        self._transport = None
        self._on_lost(self)

    def eof_received(self) -> None:
        answer = self._reader.end() if self._waiter is not None else None
        if answer is not None:
            self._deliver(answer)
        else:
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

    def _deliver(self, answer: Response) -> None:
        self._settle(answer)
        # An answer that came before all of the request was written leaves a rest of it for the next one's reader.
        if self._reader.reusable and self._transport is not None and not self._transport.get_write_buffer_size():
            self._on_idle(self)
        else:
            self.end("done")

    def _settle(self, outcome: Outcome) -> None:
        waiter, self._waiter = self._waiter, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiter is not None and not waiter.done():
            waiter.set_result(outcome)

    def _look_once_more(self, timeout_s: float) -> None:
        # This process may have stood still itself, with the answer waiting in the socket: read that first.
        self._timer = self._loop.call_later(GRACE_S, self.end, f"none within {timeout_s:g} s")


def _unanswered(why: str, cause: BaseException | None) -> Unavailable:
    error = Unavailable(f"no answer: {why}", ambiguous=True)
    error.__cause__ = cause
    return error
