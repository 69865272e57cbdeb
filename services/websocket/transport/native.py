"""Writes bytes of the wire, and the pages of a pull.

A frame of a server is not masked and not compressed, so the same bytes go to every device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from shared.realtime import frames
from shared.realtime.close_codes import CloseCode
from shared.store.values import Pull

#: Largest frame of a pull: rows, and bytes.
PAGE_ROWS, PAGE_BYTES = 100, 256 * 1024
#: What a frame of a pull has beside its rows, bytes; it is less.
_ENVELOPE_BYTES = 256

_TEXT, _CLOSE, _PING = 0x81, 0x88, 0x89
PING: Final = bytes((_PING, 0))


def text(payload: bytes) -> bytes:
    """Returns the bytes of one text message."""
    return _head(_TEXT, len(payload)) + payload


def close(code: int, reason: str) -> bytes:
    """Returns the bytes of a close frame; ``reason`` is one of the words in ``close_codes``."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return _head(_CLOSE, len(payload)) + payload


def message(kind: str, **fields: Any) -> bytes:
    """Returns the bytes of a text message that is a JSON object."""
    return text(orjson.dumps({"type": kind, **fields}))


def welcome_json(**fields: Any) -> bytes:
    """Returns the first frame. It has no position: a device that is cut off now has not got its rows."""
    return orjson.dumps({"type": "welcome", **fields})


def disconnect_json(code: CloseCode, after_ms: int | None, detail: str) -> bytes:
    """Returns the last frame: why the connection ends, whether to come back, and when at the earliest."""
    frame = {"type": "disconnect", "code": code.code, "reason": code.reason, "reconnect": code.reconnect}
    if after_ms is not None:
        frame["after_ms"] = after_ms
    if detail:
        frame["detail"] = detail
    return orjson.dumps(frame)


def pages(pull: Pull) -> Iterator[bytes]:
    """Returns a pull as ``missed_notifications`` frames, which are JSON. There is always one.

    Only the last one has the position, and only the first one may say ``recovered: false``: each can be applied by
    itself, and a device that is cut off in between asks for all of it again.
    """
    recovered, items, size = pull.recovered, list[bytes](), _ENVELOPE_BYTES
    for row in pull.rows:
        item = frames.item_bytes(row)
        if items and (len(items) >= PAGE_ROWS or size + len(item) > PAGE_BYTES):
            yield frames.missed_notifications(items, recovered=recovered)
            recovered, items, size = True, [], _ENVELOPE_BYTES
        items.append(item)
        size += len(item) + 1
    yield frames.missed_notifications(
        items, recovered=recovered, more=pull.more, position=pull.position, unread=pull.unread
    )


def _head(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big")
    return bytes((first, 127)) + size.to_bytes(8, "big")
