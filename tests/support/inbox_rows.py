"""Makes rows and changes of an inbox as the store returns them."""

from __future__ import annotations

from typing import Any

from shared.store.values import Change, Notification, Owner

#: The time at which the rows of these tests were accepted, and its form in a frame.
CREATED_MS, CREATED_AT = 1_795_161_600_123, "2026-11-20T08:00:00.123Z"


def row(id_: int = 7, seq: int = 3, **fields: Any) -> Notification:
    """Returns a new row; ``fields`` replace those that a test does not care for."""
    usual: dict[str, Any] = {
        "id": id_,
        "tenant": "",
        "user_id": "u1",
        "client": "shop",
        "request_id": f"r{id_}",
        "seq": seq,
        "changed_seq": seq,
        "type": "info",
        "priority": "medium",
        "category": None,
        "title": f"title {id_}",
        "body": f"body {id_}",
        "extra": "{}",
        "created_ms": CREATED_MS,
        "stored_ms": CREATED_MS + 5,
        "read_ms": None,
        "archived_ms": None,
        "deleted_ms": None,
        "expires_ms": None,
    }
    return Notification(**{**usual, **fields})


def change(*rows: Notification, prev: int = 2, to: int = 3, **fields: Any) -> Change:
    """Returns a change of u1's inbox; ``fields`` replace those that a test does not care for."""
    usual: dict[str, Any] = {"owner": Owner("u1"), "epoch": "0badcafe", "unread": 4, "at_ms": CREATED_MS}
    return Change(prev=prev, to=to, rows=rows, **{**usual, **fields})
