"""Writes two simpler dialects, for pages that show notifications without keeping an inbox.

``/ws/{user_id}``: each message is one notification, bare: the unread ones at first, oldest first, then those that come.
``/ws/notifications/``: ``missed_notifications`` once, then ``notification``; ``ping`` is answered by ``pong``.

Both say nothing of what is read or deleted elsewhere. None of their notifications comes twice over one connection,
unless the inbox starts anew meanwhile: it was erased, a backup was put back, or more than 1 000 rows are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from services.websocket.transport import native
from shared.realtime import frames
from shared.realtime.close_codes import CloseCode
from shared.realtime.wakeup import Wakeup
from shared.store.values import Owner, Pull


class Bare:
    """Is the dialect of ``/ws/{user_id}``. Connections end without a word, by their code alone."""

    name = "bare"
    has_auth_frame = False

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        return b"".join([self._one(owner, item) for item in _new_in(wakeup)])

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        for item in _unread_in(pull):
            yield self._one(pull.owner, item)

    def welcome(self, **fields: Any) -> bytes:
        return b""

    def message(self, kind: str, **fields: Any) -> bytes:
        return b""

    def disconnect(self, code: CloseCode, after_ms: int | None, detail: str) -> bytes:
        return b""

    @staticmethod
    def _one(owner: Owner, item: dict[str, Any]) -> bytes:
        shown = {
            "id": item["id"],
            "user_id": owner.user_id,
            "title": item["title"],
            "message": item["body"],
            "type": item["type"],
            "is_read": item["read_at"] is not None,
            "created_at": item["created_at"],
        }
        return native.text(orjson.dumps(shown))


class Typed:
    """Is the dialect of ``/ws/notifications/``."""

    name = "typed"
    has_auth_frame = False

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        return b"".join([native.message("notification", notification=_shown(item)) for item in _new_in(wakeup)])

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        if pull.recovered:
            # The device has been told what it missed; what follows is new.
            for item in _unread_in(pull):
                yield native.message("notification", notification=_shown(item))
        else:
            missed = [_shown(item) for item in _unread_in(pull)]
            yield native.message("missed_notifications", notifications=missed, count=len(missed))

    def welcome(self, **fields: Any) -> bytes:
        return b""

    def message(self, kind: str, **fields: Any) -> bytes:
        return native.message(kind, **fields) if kind in ("pong", "error") else b""

    def disconnect(self, code: CloseCode, after_ms: int | None, detail: str) -> bytes:
        return b""


def _new_in(wakeup: Wakeup) -> Iterator[dict[str, Any]]:
    for frame in wakeup.frames:
        item: dict[str, Any] | None = orjson.loads(frame).get("notification")
        if item is not None:
            yield item


def _unread_in(pull: Pull) -> Iterator[dict[str, Any]]:
    """Yields the unread notifications, and after the first load only those that are new since then."""
    for row in pull.rows:
        if row.counts_as_unread and (row.is_new or not pull.recovered):
            yield frames.item(row)


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "message": item["body"], "is_read": item["read_at"] is not None}
