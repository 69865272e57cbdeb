"""Reads what a device says in the native dialect: one JSON object per message. What is wrong with it is Unreadable."""

from __future__ import annotations

from typing import Any

import orjson

from services.websocket.desk import Unreadable, echo
from services.websocket.door import Credential
from services.websocket.transport.positions import position_of
from shared.store.values import Position


def parsed(text: bytes) -> dict[str, Any]:
    """Returns the frame. Raises Unreadable, and UnicodeDecodeError if the text is not UTF-8."""
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError:
        text.decode()
        raise Unreadable("malformed", "a frame must be a JSON object") from None
    if not isinstance(frame, dict):
        raise Unreadable("malformed", "a frame must be a JSON object")
    return frame


def echo_of(text: bytes) -> dict[str, Any]:
    """Returns the ``id`` of a frame that is refused unread, if it can be found."""
    try:
        return echo(parsed(text))
    except (Unreadable, UnicodeDecodeError):
        return {}


def shown(frame: dict[str, Any]) -> tuple[Credential | None, Position | None]:
    """Returns what an ``auth`` frame shows, and from where it resumes. Raises Unreadable."""
    token, ticket, resume = (frame.get(name) for name in ("token", "ticket", "resume"))
    if not all(isinstance(one, str | None) for one in (token, ticket)):
        raise Unreadable("invalid", "token and ticket must be text")
    position = None
    if resume is not None:
        if not isinstance(resume, dict):
            raise Unreadable("invalid", "resume must be an object with epoch and offset")
        position = position_of(resume.get("epoch"), resume.get("offset"))
        if position is None:
            raise Unreadable("invalid", "resume must have an epoch, which is text, and an offset")
    return (Credential(token, ticket) if token or ticket else None), position
