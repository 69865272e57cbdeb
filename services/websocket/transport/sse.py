"""Serves server-sent events: the same frames as over a WebSocket, for devices whose network has none.

Each event is one chunk of the response, encoded once for all devices, and written to the transport directly. Its id is
the position, so a browser resumes by ``Last-Event-ID``. Only the last event of a pull has an id, and the first event of
a pull that starts anew has an empty one, which makes the browser forget its own. A comment would be invisible to an
EventSource, so the sign of life is an event.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping

import structlog
from aiohttp import HttpVersion11, web

from services.websocket.door import Guest
from services.websocket.parts import DRAINED_BYTES, FULL_BYTES, MOST_UNSENT_BYTES, Parts
from services.websocket.session import Session
from services.websocket.transport import native
from services.websocket.transport.positions import position_text
from shared import clock
from shared.clock import rfc3339
from shared.realtime.close_codes import TOKEN_EXPIRED, TOO_SLOW, CloseCode
from shared.realtime.wakeup import Wakeup
from shared.store.values import Owner, Position, Pull

log = structlog.get_logger(__name__)

#: A browser that was cut off waits a random time in this range before it comes back, milliseconds.
RETRY_MS = (1_000, 5_000)
#: One whose connection ended for good is told to wait this long, milliseconds.
STAYS_AWAY_MS = 3_600_000
#: How long data may stay without an acknowledgement of the device's machine, milliseconds: where ``beat`` cannot tell.
_UNACKED_MS = 40_000
#: The place of ``tcpi_bytes_acked`` in Linux' struct tcp_info.
_ACKED = slice(120, 128)
#: How often a device that is full is looked at, seconds.
_LOOK_S = 0.05
_KIND = len(b'{"type":"')


class Dialect:
    """Is the dialect of ``/sse``. HTTP/1.0 knows no chunks: the end of the connection is that of the response then."""

    name = "sse"

    def __init__(self, *, has_chunks: bool) -> None:
        self._has_chunks = has_chunks

    def event(self, frame: bytes, at: str | None = None) -> bytes:
        """Returns one event, which is named like its frame; ``at`` is its id, None for none."""
        kind = frame[_KIND : frame.index(b'"', _KIND)]
        id_ = b"" if at is None else b"id: %b\n" % at.encode()
        return self._part(b"event: %b\n%bdata: %b\n\n" % (kind, id_, frame))

    def retry(self, after_ms: int) -> bytes:
        """Tells a browser how long it waits before it connects again once the connection has ended."""
        return self._part(b"retry: %d\n" % max(after_ms, 1))

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        *others, last = wakeup.frames
        at = position_text(Position(wakeup.epoch, wakeup.to))
        return b"".join([*(self.event(frame) for frame in others), self.event(last, at)])

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        at = None if pull.recovered else ""
        page, *others = native.pages(pull)
        for following in others:
            yield self.event(page, at)
            page, at = following, None
        # A single event has the position, whether the list starts anew or not: the browser then has that one.
        yield self.event(page, position_text(pull.position))

    def _part(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._has_chunks else data


CHUNKED, PLAIN = Dialect(has_chunks=True), Dialect(has_chunks=False)


class Events:
    """Is one device: a device of the hub, and one of its user's connections."""

    def __init__(self, parts: Parts, guest: Guest, transport: asyncio.Transport, dialect: Dialect) -> None:
        self.dialect = dialect
        self._parts = parts
        self._transport = transport
        self._expires_ms = guest.expires_ms
        self._welcomed = self._full = self._over = False
        #: how many bytes the machine of the device had acknowledged at the last ping
        self._acked: int | None = None
        self._changed = asyncio.Event()
        self._session: Session | None = None
        self.connection = secrets.token_hex(6)
        self.since_ms: int | None = None

    @property
    def owner(self) -> Owner:
        assert self._session is not None
        return self._session.owner

    @property
    def full(self) -> bool:
        if not self._full and self._transport.get_write_buffer_size() >= FULL_BYTES:
            self._full = True
            self._changed.set()
        return self._full

    def write(self, data: bytes) -> None:
        if self._over or self._transport.is_closing():
            return
        try:
            self._transport.write(data)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the other devices must get their frames
            log.warning("connection_not_written", error=repr(exc))
            self._transport.abort()

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        if not self._welcomed:
            self._welcomed = True
            welcome = native.welcome_json(
                connection=self.connection,
                user_id=pull.owner.user_id,
                recovered=pull.recovered,
                unread=pull.unread,
                ping_s=self._parts.ping_s,
                expires_at=None if self._expires_ms is None else rfc3339(self._expires_ms),
            )
            yield self.dialect.retry(random.randint(*RETRY_MS)) + self.dialect.event(welcome)
        yield from self.dialect.pulled(pull)

    def end(self, code: CloseCode, after_ms: int | None = None, detail: str = "") -> None:
        if self._over:
            return
        frame = native.disconnect_json(code, after_ms, detail)
        if not code.reconnect:
            # An EventSource always comes back by itself, and would end the next connection of its user.
            after_ms = STAYS_AWAY_MS
        retry = b"" if after_ms is None else self.dialect.retry(after_ms)
        self.write(retry + self.dialect.event(frame))
        self._leave(code.code)

    def beat(self) -> None:
        if self.full or self._over:
            # ``_drain`` sees whether it takes any of what it was sent.
            self._acked = None
            return
        acked = acked_bytes(self._transport)
        if acked is not None and acked == self._acked:
            # The machine of the device has not even taken the last ping.
            log.info("connection_silent", connection=self.connection)
            self._transport.abort()
            return
        self._acked = acked
        self.write(self.dialect.event(b'{"type":"ping"}'))

    def look(self, now: float) -> None:
        """Does nothing: its own task looks."""

    async def run(self, guest: Guest, position: Position | None) -> None:
        """Serves the device until its connection ends."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # The device never says anything, so the kernel has to notice that it is dead; ``beat`` notices it earlier.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKED_MS)
        parts = self._parts
        parts.enter(self, "sse", self.dialect.name)
        self._session = parts.hub.attach(guest.owner, self, position)
        parts.seats.take(self)
        left_s = None if self._expires_ms is None else max(0.0, (self._expires_ms - clock.now_ms()) / 1000)
        try:
            async with asyncio.timeout(left_s):
                while not self._over:
                    await self._changed.wait()
                    self._changed.clear()
                    await self._drain()
        except TimeoutError:
            self.end(TOKEN_EXPIRED)
        finally:
            self._leave(1006)

    async def _drain(self) -> None:
        """Waits until a full device has taken most of what it was sent, and ends one that takes nothing."""
        loop = asyncio.get_running_loop()
        unsent, since = self._transport.get_write_buffer_size(), loop.time()
        while self._full and not self._over:
            await asyncio.sleep(_LOOK_S)
            before, unsent = unsent, self._transport.get_write_buffer_size()
            if unsent <= DRAINED_BYTES:
                self._full = False
                if self._session is not None:
                    self._parts.hub.drained(self._session)
            elif unsent < before:
                since = loop.time()
            elif unsent > MOST_UNSENT_BYTES or loop.time() - since >= self._parts.stalled_s:
                self._parts.metrics.slow_closed.inc()
                log.info("connection_too_slow", connection=self.connection)
                self.end(TOO_SLOW)
                self._transport.abort()

    def _leave(self, code: int) -> None:
        if self._over:
            return
        self._over = True
        self._changed.set()
        parts = self._parts
        parts.leave(self, "sse", self.dialect.name, code)
        if self._session is not None:
            parts.hub.detach(self._session)
            parts.seats.give_back(self)


def acked_bytes(transport: asyncio.Transport) -> int | None:
    """Returns how many bytes the other machine has acknowledged; None if this system does not tell."""
    raw = transport.get_extra_info("socket")
    if raw is None or not hasattr(socket, "TCP_INFO"):
        return None
    info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.stop)
    return int.from_bytes(info[_ACKED], sys.byteorder) if len(info) == _ACKED.stop else None


async def serve(
    request: web.BaseRequest, parts: Parts, guest: Guest, position: Position | None, cors: Mapping[str, str]
) -> web.StreamResponse:
    """Answers ``GET /sse``."""
    headers = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache, no-transform",
        "X-Accel-Buffering": "no",
        **cors,
    }
    response = web.StreamResponse(headers=headers)
    response.force_close()
    has_chunks = request.version >= HttpVersion11
    if has_chunks:
        response.enable_chunked_encoding()
    await response.prepare(request)
    transport = request.transport
    if transport is not None:
        await Events(parts, guest, transport, CHUNKED if has_chunks else PLAIN).run(guest, position)
    return response
