"""Is one open WebSocket: from the first byte after the handshake to the last one.

It has slots, no task and no queue of its own, because a node has thousands of them and most are silent.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Iterator
from typing import Any

import structlog

from services.websocket.desk import Unreadable, echo, number_in
from services.websocket.door import Credential, Guest
from services.websocket.parts import (
    CLOSING_S,
    DRAINED_BYTES,
    EXPIRING_S,
    FULL_BYTES,
    MOST_FAULTS,
    MOST_UNSENT_BYTES,
    OPEN_AUTH_S,
    Parts,
)
from services.websocket.reads import after_ms
from services.websocket.session import Session
from services.websocket.transport.allowance import FRAMES_PER_S, Allowance, Verdict
from services.websocket.transport.dialects import Dialect
from services.websocket.transport.lingering import Lingering
from services.websocket.transport.native import PING, close
from services.websocket.transport.reading import MOST_BYTES, Broken, Closed, Event, Pinged, Reading, Said
from services.websocket.transport.said import echo_of, parsed, shown
from shared import clock
from shared.clock import rfc3339
from shared.errors import RedisUnavailable
from shared.realtime.close_codes import (
    INTERNAL,
    MALFORMED,
    NO_AUTH,
    NOT_UTF8,
    OVERLOADED,
    TOKEN_EXPIRED,
    TOO_FAST,
    TOO_SLOW,
    WRONG_USER,
    CloseCode,
)
from shared.realtime.tokens import TokenRefused
from shared.store.values import Owner, Position, Pull

log = structlog.get_logger(__name__)

#: So many bytes are read at once, before it is looked whether the device may say more.
_READ_BYTES = 4096
#: A device that says too much comes back after a random time in this range, milliseconds.
_CALM_MS = (10_000, 15_000)


class Socket(asyncio.Protocol):
    """Is a device of the hub, and one of its user's connections.

    ``named`` is the user that its path names, ``credential`` and ``position`` what its request has shown.
    """

    __slots__ = (
        "_allowance",
        "_asked",
        "_closing",
        "_early",
        "_expires_ms",
        "_faults",
        "_guest_named",
        "_heard",
        "_parts",
        "_reading",
        "_stalled",
        "_timer",
        "_transport",
        "_welcomed",
        "connection",
        "dialect",
        "full",
        "session",
        "since_ms",
    )

    def __init__(self, parts: Parts, dialect: Dialect, named: str | None) -> None:
        self._parts = parts
        self._guest_named = named
        self._asked: Position | None = None
        self._transport: asyncio.Transport
        self._reading: Reading | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: what came while the device's credential is being checked; None otherwise
        self._early: list[bytes] | None = None
        self._closing = self._welcomed = False
        self._heard = True
        self._expires_ms: int | None = None
        self._allowance = Allowance()
        self._faults = 0
        #: (unsent bytes, since when) of a device that takes nothing
        self._stalled: tuple[int, float] | None = None
        self.dialect = dialect
        self.full = False
        self.session: Session | None = None
        self.connection = ""
        self.since_ms: int | None = None

    def open(
        self, transport: asyncio.Transport, credential: Credential | None, position: Position | None, first: bytes
    ) -> None:
        """Begins to speak, after the handshake; ``first`` are the bytes that came behind it."""
        self._transport = transport
        self._asked = position
        transport.set_write_buffer_limits(high=FULL_BYTES, low=DRAINED_BYTES)
        self._parts.enter(self, "websocket", self.dialect.name)
        if credential is not None or not self.dialect.has_auth_frame:
            self._check(credential, position)
        elif self._parts.door.open and self._guest_named is not None:
            # It need not prove anything, but its auth frame may say from where it resumes.
            self._wait(OPEN_AUTH_S, self._check, None, position)
        else:
            self._wait(self._parts.auth_s, self.end, NO_AUTH)
        if first:
            self.data_received(first)

    @property
    def owner(self) -> Owner:
        """Returns the user; only once the device is admitted."""
        assert self.session is not None
        return self.session.owner

    # -- What the hub wants ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        transport = self._transport
        if self._closing or not data or transport.is_closing():
            return
        try:
            transport.write(data)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the other devices must get their frames
            log.warning("connection_not_written", error=repr(exc))
            transport.abort()
            return
        if self.full and transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            asyncio.get_running_loop().call_soon(self._give_up_slow)

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        if self._welcomed:
            yield from self.dialect.pulled(pull)
            return
        self._welcomed = True
        welcome = self.dialect.welcome(
            connection=self.connection,
            user_id=pull.owner.user_id,
            recovered=pull.recovered,
            unread=pull.unread,
            ping_s=self._parts.ping_s,
            expires_at=None if self._expires_ms is None else rfc3339(self._expires_ms),
        )
        for frame in self.dialect.pulled(pull):
            yield welcome + frame
            welcome = b""
        if welcome:
            yield welcome

    def end(self, code: CloseCode, after_ms: int | None = None, detail: str = "") -> None:
        """Says why, closes the connection, and cuts it if the device does not close it too."""
        if self._closing:
            return
        self.write(self.dialect.disconnect(code, after_ms, detail) + close(code.code, code.reason))
        self._leave(code.code)
        self._parts.closing.add(self)
        self._wait(CLOSING_S, self._transport.abort)

    def _hang_up(self) -> None:
        self._transport.close()
        self._wait(CLOSING_S, self._transport.abort)

    def _linger(self) -> None:
        """Hears the device no longer; it may still read what it was told."""
        if self._timer is not None:
            self._timer.cancel()
        self._parts.closing.discard(self)
        Lingering(self._transport, CLOSING_S)

    def say(self, kind: str, **fields: Any) -> None:
        """Sends a frame of the native dialect, if the device's dialect has such frames."""
        self.write(self.dialect.message(kind, **fields))

    def beat(self) -> None:
        if self._closing:
            return
        if self.full:
            # A ping would wait behind everything else; ``look`` sees whether the device takes any of that.
            self._heard = True
        elif self._heard:
            self._heard = False
            self.write(PING)
        else:
            log.info("connection_silent", connection=self.connection)
            self._transport.abort()

    def look(self, now: float) -> None:
        """Ends the device if it is full and has not taken a byte for a while; called once a second or so."""
        if not self.full or self._closing:
            return
        unsent = self._transport.get_write_buffer_size()
        if self._stalled is None or unsent < self._stalled[0]:
            self._stalled = (unsent, now)
        elif now - self._stalled[1] >= self._parts.stalled_s:
            self._give_up_slow()
        else:
            # It may have grown by answers to what the device asks without reading.
            self._stalled = (unsent, self._stalled[1])

    def _give_up_slow(self) -> None:
        if not self._closing:
            self._parts.metrics.slow_closed.inc()
            log.info("connection_too_slow", connection=self.connection)
            self.end(TOO_SLOW)

    # -- What the transport says -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._heard = True
        for first in range(0, len(data), _READ_BYTES):
            if self._closing and len(data) - first > MOST_BYTES:
                # It has been told to end, and says more than any last message.
                self._linger()
                return
            reading = self._reading or Reading()
            for event in reading.feed(data[first : first + _READ_BYTES]):
                if self._take(event):
                    self._reading = None
                    return
            self._reading = None if reading.over else reading

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full, self._stalled = False, None
        if self.session is not None:
            self._parts.hub.drained(self.session)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self._leave(1006)
        if self._timer is not None:
            self._timer.cancel()
        self._parts.closing.discard(self)

    def _leave(self, code: int) -> None:
        """Forgets the connection: no more is written to it."""
        self._closing = True
        self._early = None
        self._parts.leave(self, "websocket", self.dialect.name, code)
        if self.session is not None:
            self._parts.hub.detach(self.session)
            self._parts.seats.give_back(self)

    # -- What the device says ----------------------------------------------------------------------------------------

    def _take(self, event: Event) -> bool:
        """Takes what the device says. Tells whether that is the last that is read."""
        match event:
            case Closed(code, answer):
                if not self._closing:
                    self.write(answer)
                    self._leave(code)
                self._hang_up()
                return True
            case Broken(code):
                self.end(code)
                # What follows cannot be read, so the closing handshake cannot be either.
                self._linger()
                return True
        if self._closing or not self._may(event.text if isinstance(event, Said) else b""):
            return False
        if isinstance(event, Said):
            self._hear(event.text)
        elif isinstance(event, Pinged):
            self.write(event.pong)
        return False

    def _may(self, text: bytes) -> bool:
        """Tells whether the device may say something now. Pings and parts of messages count, too."""
        verdict = self._allowance.take(asyncio.get_running_loop().time())
        if verdict is Verdict.MAY:
            return True
        self.say("error", code="rate_limited", detail=f"at most {FRAMES_PER_S:g} frames a second", **echo_of(text))
        if verdict is Verdict.LAST:
            self.end(TOO_FAST, random.randint(*_CALM_MS))
        return False

    def _hear(self, text: bytes) -> None:
        if self._early is not None:
            self._early.append(text)
            return
        frame: dict[str, Any] = {}
        try:
            frame = parsed(text)
            self._obey(frame)
        except UnicodeDecodeError:
            self.end(NOT_UTF8)
        except Unreadable as exc:
            self._refuse(exc, frame)

    def _obey(self, frame: dict[str, Any]) -> None:
        kind = frame.get("type", "subscribe" if "channel" in frame else None)
        if self.session is None and kind != "auth":
            raise Unreadable("auth_first", "the first frame must be auth")
        match kind:
            case "auth":
                self._prove(frame)
            case "ping":
                self.say("pong", **echo(frame))
            case "ack":
                self._acknowledge(number_in(frame, "offset"))
            case "read" | "unread" | "archive" | "delete" | "read_all":
                self._parts.run(self._change(frame))
            case "subscribe" | "unsubscribe":
                raise Unreadable("not_available", "this version has no channels", counts=False)
            case str():
                raise Unreadable("unknown_type", "there is no such type of frame")
            case _:
                raise Unreadable("malformed", "a frame needs a type")

    def _refuse(self, exc: Unreadable, frame: dict[str, Any]) -> None:
        self.say("error", code=exc.code, detail=exc.detail, **echo(frame))
        self._faults += exc.counts
        if self._faults >= MOST_FAULTS:
            self.end(MALFORMED)

    async def _change(self, frame: dict[str, Any]) -> None:
        if self._closing:
            return
        try:
            await self._parts.desk.change(self, frame)
        except Unreadable as exc:
            self._refuse(exc, frame)

    def _acknowledge(self, offset: int) -> None:
        assert self.session is not None
        position = self.session.position
        # A device can only have what was sent to it.
        if position is not None and offset <= position.offset:
            self._parts.desk.acknowledge(self.owner, offset)

    # -- Who it is ---------------------------------------------------------------------------------------------------

    def _prove(self, frame: dict[str, Any]) -> None:
        credential, position = shown(frame)
        if credential is None and self.session is not None:
            # It has shown what it has in its request already.
            if "id" in frame:
                self.say("done", **echo(frame))
            return
        self._check(credential, position or self._asked, frame)

    def _check(
        self, credential: Credential | None, position: Position | None, frame: dict[str, Any] | None = None
    ) -> None:
        """Checks a credential; what the device says meanwhile waits."""
        if self.session is None and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._early = []
        self._parts.run(self._admit(credential, position, frame or {}))

    async def _admit(self, credential: Credential | None, position: Position | None, frame: dict[str, Any]) -> None:
        try:
            guest = await self._parts.door.admit(credential, self._guest_named)
        except TokenRefused as exc:
            log.info("connection_refused", code=exc.close.code, reason=exc.close.reason)
            self.end(exc.close, detail=str(exc))
            return
        except RedisUnavailable:
            self.end(OVERLOADED, after_ms(), "tickets cannot be read")
            return
        except Exception:
            self.end(INTERNAL)
            raise
        if self._closing:
            return
        if self.session is not None:
            self._renew(self.session, guest, frame)
        elif self._parts.hub.overloaded:
            self.end(OVERLOADED, after_ms())
        else:
            self.connection = secrets.token_hex(6)
            self._expires_ms = guest.expires_ms
            self.session = self._parts.hub.attach(guest.owner, self, position)
            self._parts.seats.take(self)
            self._watch_token()
        early, self._early = self._early or [], None
        for text in early:
            if not self._closing:
                self._hear(text)

    def _renew(self, session: Session, guest: Guest, frame: dict[str, Any]) -> None:
        if guest.owner != session.owner:
            self.end(WRONG_USER)
            return
        self._expires_ms = guest.expires_ms
        self._watch_token()
        if "id" in frame:
            self.say("done", **echo(frame))

    def _watch_token(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._expires_ms is not None:
            self._wait(max(0.0, self._left_s() - EXPIRING_S), self._warn)

    def _warn(self) -> None:
        assert self._expires_ms is not None
        self.say("expiring", expires_at=rfc3339(self._expires_ms))
        self._wait(max(0.0, self._left_s()), self.end, TOKEN_EXPIRED)

    def _left_s(self) -> float:
        return ((self._expires_ms or 0) - clock.now_ms()) / 1000

    def _wait(self, delay_s: float, do: Any, *arguments: Any) -> None:
        """Replaces the timer: a connection waits for one thing at a time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, do, *arguments)
