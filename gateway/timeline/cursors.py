"""Writes and reads the cursor of a list of deliveries, a text that callers pass on unread."""

from __future__ import annotations

import base64
import binascii

import orjson

from gateway.http.problem import Problem
from shared.store.timeline.rows import Cursor


def cursor_of(cursor: Cursor | None) -> str | None:
    """Returns the text for the answer."""
    return None if cursor is None else base64.urlsafe_b64encode(orjson.dumps(list(cursor))).decode().rstrip("=")


def read_cursor(text: str | None) -> Cursor | None:
    """Returns the cursor. Raises Problem 422 for a text that ``cursor_of`` has not made."""
    if text is None:
        return None
    try:
        found = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if not (isinstance(found, list) and len(found) == 4 and _is_time(found[0]) and all(map(_is_text, found[1:]))):
        raise Problem(422, "the query is not valid", [("cursor", "must be the `next` of the part before")])
    return Cursor._make(found)


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value
