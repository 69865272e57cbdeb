"""Defines what a dialect of WebSockets has to say, and finds the one of a path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

from services.websocket.transport import native
from services.websocket.transport.simple import Bare, Typed
from shared.realtime.close_codes import CloseCode
from shared.realtime.wakeup import Wakeup
from shared.store.values import Owner, Pull


class Dialect(Protocol):
    """Turns what happens into bytes of the wire, the same for every device; empty bytes say nothing."""

    name: str
    #: whether the device may say who it is with its first frame
    has_auth_frame: bool

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        """Returns the frames of a wake-up that has some."""

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        """Returns the frames of a pull."""

    def welcome(self, **fields: Any) -> bytes:
        """Returns what a device gets before its first pull."""

    def message(self, kind: str, **fields: Any) -> bytes:
        """Returns an answer."""

    def disconnect(self, code: CloseCode, after_ms: int | None, detail: str) -> bytes:
        """Returns what a device gets before its connection is closed."""


class Place(NamedTuple):
    """Says what is served under a path, and which user the path names, if any."""

    dialect: Dialect
    named: str | None


def place_of(path: str, query_user: str | None) -> Place | None:
    """Returns what is served to WebSockets under ``path``, which is still percent-encoded; None if nothing is.

    A user whose name is ``notifications`` can only use the native path.
    """
    match path.split("/")[1:]:
        case ["ws"] | ["ws", ""]:
            return Place(NATIVE, query_user)
        case ["ws", "notifications", ""]:
            return Place(TYPED, query_user)
        case ["ws", user_id] | ["ws", user_id, ""]:
            return Place(BARE, unquote(user_id))
    return None


class Native:
    """Is the dialect of ``/ws``: every frame is a JSON object with a ``type``."""

    name = "native"
    has_auth_frame = True

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        return b"".join([native.text(frame) for frame in wakeup.frames])

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        return map(native.text, native.pages(pull))

    def welcome(self, **fields: Any) -> bytes:
        return native.text(native.welcome_json(**fields))

    def message(self, kind: str, **fields: Any) -> bytes:
        return native.message(kind, **fields)

    def disconnect(self, code: CloseCode, after_ms: int | None, detail: str) -> bytes:
        return native.text(native.disconnect_json(code, after_ms, detail))


NATIVE, BARE, TYPED = Native(), Bare(), Typed()
