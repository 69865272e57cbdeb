"""Sends many commands at once over one connection to Redis, without waiting for each reply.

Replies come in the order of the commands, so each reply is matched by its place. If one reply is late, the whole
connection is dropped: a later reply could be taken for the answer to another command.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

import hiredis
import redis.asyncio

from shared.errors import RedisUnavailable
from shared.redis.sentinel import master_url
from shared.settings.addresses import is_sentinel

#: how much longer to wait for a late reply, because this process itself may have been suspended, seconds
GRACE_S = 0.02


def pack(*words: bytes | str) -> bytes:
    """Returns the bytes of one command. Raises UnicodeEncodeError for text that UTF-8 cannot hold."""
    return cast(bytes, hiredis.pack_command(words))  # type: ignore[arg-type]  # its stub asks for a tuple of one


class Expected(Protocol):
    """Waits for one reply. Exactly one of the two methods is called, once; neither raises."""

    def answer(self, reply: object) -> None: ...

    def fail(self, why: str, cause: BaseException | None) -> None: ...


def unavailable(why: str, cause: BaseException | None = None) -> RedisUnavailable:
    """Returns a new error for each waiter: one instance raised in many tasks would collect all their tracebacks."""
    error = RedisUnavailable(why)
    error.__cause__ = cause
    return error


class Wire(asyncio.Protocol):
    """Speaks to Redis over one connection. Calls ``on_room`` after replies came in, and after the connection ended."""

    def __init__(self, timeout_s: float, on_room: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._on_room = on_room
        self._reader = hiredis.Reader(notEnoughData=MORE)
        self._waiting: deque[tuple[float, Expected]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.closed = False

    @property
    def unanswered(self) -> int:
        """Returns the number of commands that wait for a reply."""
        return len(self._waiting)

    def send(self, payload: bytes, expected: Iterable[Expected]) -> None:
        """Writes commands, one for each of ``expected``; each of them gets its reply or the connection's end."""
        now = self._loop.time()
        self._waiting.extend((now, one) for one in expected)
        if self._transport is not None:
            self._transport.write(payload)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def drop(self, why: str, cause: BaseException | None = None) -> None:
        """Ends the connection now, and fails every command that waits for a reply on it."""
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            self._waiting.popleft()[1].fail(why, cause)
        self._on_room()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop("the connection to Redis was lost", exc)

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not MORE:
                waiting.popleft()[1].answer(reply)
                if _is_read_only(reply):
                    # This master was demoted: the next connection reaches the new one.
                    self.drop("Redis has become read-only")
                    return
        except (hiredis.ProtocolError, IndexError) as exc:
            # Not a valid reply, or a reply to no command: the following ones cannot be matched any more.
            self.drop("Redis sent an invalid or unexpected reply", exc)
        else:
            self._on_room()

    def _look(self) -> None:
        """Checks the oldest command's deadline. One timer serves all commands, and runs only while replies are due."""
        self._timer = None
        if not self._waiting:
            return
        sent_at, oldest = self._waiting[0]
        left_s = sent_at + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            # This process itself may have been suspended while the reply waits in the socket: read that first.
            self._timer = self._loop.call_later(GRACE_S, self._give_up, oldest)

    def _give_up(self, oldest: Expected) -> None:
        if self._waiting and self._waiting[0][1] is oldest:
            self.drop(f"Redis did not answer within {self._timeout_s:g} s")
        else:
            self._look()


class Single:
    """Holds one plain command and the future for its reply."""

    __slots__ = ("future", "payload")

    def __init__(self, future: asyncio.Future[Any], *words: bytes | str) -> None:
        self.future = future
        self.payload = pack(*words)

    def answer(self, reply: object) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self.fail(str(reply), reply)
        elif not self.future.done():
            self.future.set_result(reply)

    def fail(self, why: str, cause: BaseException | None) -> None:
        if not self.future.done():
            self.future.set_exception(unavailable(why, cause))


async def open_wire(url: str, timeout_s: float, on_room: Callable[[], None]) -> Wire:
    """Connects and logs in, within ``timeout_s`` seconds. Raises RedisUnavailable."""
    wire = Wire(timeout_s, on_room)
    await log_in(wire, url, timeout_s)
    return wire


async def log_in(wire: Wire, url: str, timeout_s: float) -> None:
    """Connects ``wire`` and logs in, within ``timeout_s`` seconds. Raises RedisUnavailable."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            if is_sentinel(url):
                url = await master_url(url, timeout_s)
            # redis-py reads the URL, so that it means the same to every client in this package.
            target: Any = redis.asyncio.ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
            if isinstance(target, redis.asyncio.UnixDomainSocketConnection):
                await loop.create_unix_connection(lambda: wire, target.path)
            else:
                context = target.ssl_context.get() if isinstance(target, redis.asyncio.SSLConnection) else None
                await loop.create_connection(lambda: wire, target.host, target.port, ssl=context)
            for words in _greeting(target):
                greeting = Single(loop.create_future(), *words)
                wire.send(greeting.payload, [greeting])
                await greeting.future
    except TimeoutError as exc:
        wire.drop("the login to Redis did not succeed")
        raise unavailable(f"no connection to Redis within {timeout_s:g} s", exc) from exc
    except OSError as exc:
        raise unavailable(f"no connection to Redis: {exc.strerror or type(exc).__name__}", exc) from exc
    except (RedisUnavailable, asyncio.CancelledError):
        wire.drop("the login to Redis did not succeed")
        raise


def _greeting(target: Any) -> list[tuple[str, ...]]:
    words: list[tuple[str, ...]] = []
    if target.password:
        words.append(("AUTH", target.username, target.password) if target.username else ("AUTH", target.password))
    if int(target.db or 0):
        words.append(("SELECT", str(target.db)))
    return words


def _is_read_only(reply: object) -> bool:
    # A script for several keys answers with a list, and a replica refuses all of them.
    first = reply[0] if isinstance(reply, list) and reply else reply
    return isinstance(first, hiredis.ReplyError) and "READONLY" in str(first)


MORE = object()
