"""Writes the frames that show an inbox to a device, in the native dialect: one JSON object per frame, as UTF-8.

A frame is written once and sent to every device of its user. Its ``unread`` is the number after the whole transaction,
so a device sets its counter and never counts by itself. ``prev`` is the offset that a device must have reached before
it may apply the frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import orjson

from shared.clock import rfc3339
from shared.store.values import Change, Notification, Position


def of_change(change: Change) -> list[bytes]:
    """Returns the frames of one committed change, in the order of their offsets; none for a bare change."""
    return list(_frames(change))


def _frames(change: Change) -> Iterator[bytes]:
    prev = change.prev
    if change.read_upto is not None:
        yield updated_upto(change.read_upto, change.at_ms, change.to, prev, change.unread)
    for offset, rows in groupby(change.rows, lambda row: row.changed_seq):
        together = list(rows)
        if together[0].is_new:
            yield notification(together[0], prev, change.unread)
        else:
            yield updated(together, prev, change.unread)
        prev = offset


def notification(row: Notification, prev: int, unread: int) -> bytes:
    """Returns the frame of a new row."""
    return orjson.dumps(
        {"type": "notification", "offset": row.seq, "prev": prev, "unread": unread, "notification": item(row)}
    )


def updated(rows: Sequence[Notification], prev: int, unread: int) -> bytes:
    """Returns the frame of rows that were marked or deleted together: they have one offset."""
    items = [
        {"id": row.id, "deleted": True}
        if row.deleted_ms is not None
        else {"id": row.id, "read_at": _time(row.read_ms), "archived_at": _time(row.archived_ms)}
        for row in rows
    ]
    return orjson.dumps(
        {"type": "updated", "offset": rows[0].changed_seq, "prev": prev, "unread": unread, "items": items}
    )


def updated_upto(upto: int, read_ms: int, offset: int, prev: int, unread: int) -> bytes:
    """Returns the frame that marks as read every row with an id up to ``upto`` that is neither read nor archived."""
    return orjson.dumps(
        {"type": "updated", "offset": offset, "prev": prev, "unread": unread, "upto": upto, "read_at": rfc3339(read_ms)}
    )


def missed_notifications(
    items: Sequence[bytes],
    *,
    recovered: bool,
    more: bool = False,
    position: Position | None = None,
    unread: int | None = None,
) -> bytes:
    """Returns one frame of a pull. ``items`` are from ``item_bytes``, in the order of the pull.

    Only the last frame of a pull has ``position`` and ``unread``: a device that is cut off before it must ask for the
    same rows again. ``more``: there are older unread notifications than those of this pull.
    """
    frame: dict[str, Any] = {
        "type": "missed_notifications",
        "recovered": recovered,
        "more": more,
        "items": [orjson.Fragment(one) for one in items],
    }
    if position is not None:
        frame |= {"epoch": position.epoch, "offset": position.offset, "unread": unread}
    return orjson.dumps(frame)


def item(row: Notification) -> dict[str, Any]:
    """Returns a row as devices and callers of the HTTP API see it; a deleted one is only its id and offset.

    ``offset`` is that of the last change: of two forms of a row, the one with the higher offset is the newer one.
    ``partial`` is there only if body, data or metadata are cut short: fetch the notification by its id.
    """
    if row.deleted_ms is not None:
        return {"id": row.id, "offset": row.changed_seq, "deleted": True}
    extra = orjson.loads(row.extra) if row.extra not in ("", "{}") else {}
    shown = {
        "id": row.id,
        "request_id": row.request_id,
        "offset": row.changed_seq,
        "type": row.type,
        "priority": row.priority,
        "category": row.category,
        "title": row.title,
        "body": row.body,
        "link": extra.get("link"),
        "data": extra.get("data"),
        "metadata": extra.get("metadata"),
        "created_at": rfc3339(row.created_ms),
        "read_at": _time(row.read_ms),
        "archived_at": _time(row.archived_ms),
        "expires_at": _time(row.expires_ms),
    }
    if row.partial:
        shown["partial"] = True
    return shown


def item_bytes(row: Notification) -> bytes:
    """Returns ``item`` as JSON, for ``missed_notifications``; its length decides how many fit into a frame."""
    return orjson.dumps(item(row))


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)
