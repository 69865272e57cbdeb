"""Checks the native frames field by field: docs/realtime.md promises them to every device."""

from __future__ import annotations

from typing import Any

import orjson

from shared.realtime import frames
from shared.store.values import Change, Position
from tests.support.inbox_rows import CREATED_AT, CREATED_MS, change, row


def frames_of(one: Change) -> list[dict[str, Any]]:
    return [orjson.loads(frame) for frame in frames.of_change(one)]


def test_a_new_row_is_shown_whole() -> None:
    stored = row(
        type="alert",
        priority="high",
        category="billing",
        title="Paid",
        body="Thanks\nfor 5 €",
        extra='{"link":"https://example.com/1","data":{"order":7},"metadata":{"source":"shop"}}',
        expires_ms=CREATED_MS + 1,
    )

    assert frames_of(change(stored)) == [
        {
            "type": "notification",
            "offset": 3,
            "prev": 2,
            "unread": 4,
            "notification": {
                "id": 7,
                "request_id": "r7",
                "offset": 3,
                "type": "alert",
                "priority": "high",
                "category": "billing",
                "title": "Paid",
                "body": "Thanks\nfor 5 €",
                "link": "https://example.com/1",
                "data": {"order": 7},
                "metadata": {"source": "shop"},
                "created_at": CREATED_AT,
                "read_at": None,
                "archived_at": None,
                "expires_at": "2026-11-20T08:00:00.124Z",
            },
        }
    ]


def test_what_a_sender_left_out_is_null() -> None:
    shown = frames.item(row(extra="{}"))

    assert (shown["category"], shown["link"], shown["data"], shown["metadata"]) == (None, None, None, None)


def test_the_sender_is_not_shown() -> None:
    assert b"shop" not in frames.item_bytes(row(client="shop"))


def test_each_frame_of_a_change_follows_the_one_before_it() -> None:
    shown = frames_of(change(row(7, 3), row(8, 4), row(9, 5), prev=2, to=5, unread=9))

    assert [(frame["prev"], frame["offset"]) for frame in shown] == [(2, 3), (3, 4), (4, 5)]
    assert [frame["notification"]["id"] for frame in shown] == [7, 8, 9]
    # The counter is that of the whole transaction in each of them.
    assert [frame["unread"] for frame in shown] == [9, 9, 9]


def test_rows_that_were_marked_together_are_one_frame() -> None:
    read = row(7, 3, changed_seq=6, read_ms=CREATED_MS)
    archived = row(8, 4, changed_seq=6, read_ms=CREATED_MS, archived_ms=CREATED_MS)
    unread = row(9, 5, changed_seq=6)

    assert frames_of(change(read, archived, unread, prev=5, to=6)) == [
        {
            "type": "updated",
            "offset": 6,
            "prev": 5,
            "unread": 4,
            "items": [
                {"id": 7, "read_at": CREATED_AT, "archived_at": None},
                {"id": 8, "read_at": CREATED_AT, "archived_at": CREATED_AT},
                {"id": 9, "read_at": None, "archived_at": None},
            ],
        }
    ]


def test_a_deleted_row_is_only_its_id() -> None:
    [shown] = frames_of(change(row(7, 3, changed_seq=4, deleted_ms=CREATED_MS), prev=3, to=4))

    assert shown["items"] == [{"id": 7, "deleted": True}]


def test_everything_read_is_one_id() -> None:
    assert frames_of(change(prev=5, to=6, unread=0, read_upto=8)) == [
        {"type": "updated", "offset": 6, "prev": 5, "unread": 0, "upto": 8, "read_at": CREATED_AT}
    ]


def test_a_bare_change_has_no_frames() -> None:
    assert frames.of_change(change(prev=3, to=3)) == []


def test_a_frame_is_one_line() -> None:
    [frame] = frames.of_change(change(row(title="a\nb", body="c\r\nd\u2028e")))

    assert b"\n" not in frame
    assert b"\r" not in frame


def test_a_tombstone_among_what_was_missed_has_its_offset() -> None:
    tombstone = row(7, 3, changed_seq=9, deleted_ms=CREATED_MS, title="", body="")

    assert frames.item(tombstone) == {"id": 7, "offset": 9, "deleted": True}


def test_a_row_that_was_changed_has_the_offset_of_the_change() -> None:
    assert frames.item(row(7, 3, changed_seq=9, read_ms=CREATED_MS))["offset"] == 9


def test_only_a_row_that_is_cut_short_is_partial() -> None:
    assert "partial" not in frames.item(row())
    assert frames.item(row(partial=True))["partial"] is True


def test_only_the_last_frame_of_a_pull_has_the_position() -> None:
    items = [frames.item_bytes(row(7, 3)), frames.item_bytes(row(8, 4))]

    first = orjson.loads(frames.missed_notifications(items[:1], recovered=True))
    last = orjson.loads(
        frames.missed_notifications(items[1:], recovered=True, position=Position("0badcafe", 4), unread=2)
    )

    assert first == {
        "type": "missed_notifications",
        "recovered": True,
        "more": False,
        "items": [frames.item(row(7, 3))],
    }
    assert last == first | {"items": [frames.item(row(8, 4))], "epoch": "0badcafe", "offset": 4, "unread": 2}


def test_a_pull_of_nothing_is_a_frame_all_the_same() -> None:
    shown = orjson.loads(
        frames.missed_notifications([], recovered=False, more=True, position=Position("", 0), unread=0)
    )

    assert (shown["items"], shown["recovered"], shown["more"], shown["epoch"], shown["offset"]) == (
        [],
        False,
        True,
        "",
        0,
    )
