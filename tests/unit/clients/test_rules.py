"""Tests the rules of the Python client that need no connection."""

from __future__ import annotations

from typing import Any

import pytest

from notify_client.inbox import MOST_ROWS, GapFound, Inbox, Position
from notify_client.position_file import PositionFile
from notify_client.reconnect import CLOSE_CODES, Backoff, after_close
from shared.realtime import close_codes


def item(id_: int, offset: int, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "offset": offset, "title": f"row {id_}", "body": "", "read_at": None, **fields}


def pull(*items: dict[str, Any], offset: int | None = None, recovered: bool = True, unread: int = 0) -> dict[str, Any]:
    frame: dict[str, Any] = {"type": "missed_notifications", "items": list(items), "recovered": recovered}
    return frame if offset is None else frame | {"epoch": "e1", "offset": offset, "unread": unread, "more": False}


def live(id_: int, offset: int, prev: int, unread: int) -> dict[str, Any]:
    row = item(id_, offset)
    return {"type": "notification", "offset": offset, "prev": prev, "unread": unread, "notification": row}


def updated(offset: int, prev: int, unread: int, **fields: Any) -> dict[str, Any]:
    return {"type": "updated", "offset": offset, "prev": prev, "unread": unread, **fields}


READ = {"read_at": "2026-01-01T00:00:00.000Z", "archived_at": None}


def applied(*frames: dict[str, Any]) -> Inbox:
    inbox = Inbox()
    for frame in frames:
        inbox.apply(frame)
    return inbox


def test_each_close_code_means_the_same_as_on_the_server() -> None:
    assert {code: answer != "stay" for code, answer in CLOSE_CODES.items()} == {
        code.code: code.reconnect for code in close_codes.CLOSE_CODES
    }
    assert [after_close(code) for code in (1001, 4000, 4499, 4507)] == ["resume", "resume", "resume", "stay"]


def test_waits_double_up_to_30_s_are_never_0_and_begin_anew_after_a_minute() -> None:
    longest = Backoff(lambda: 0.0)
    assert [longest.next_s() for _ in range(8)] == [1, 1, 2, 4, 8, 16, 30, 30]
    longest.was_up(59)
    assert longest.next_s() == 30
    longest.was_up(60)
    assert longest.next_s() == 1
    assert 0 < Backoff(lambda: 0.999999).next_s() < 0.001


def test_of_two_forms_of_a_row_the_one_with_the_higher_offset_wins() -> None:
    inbox = applied(pull(item(1, 7, **READ), offset=7))
    assert inbox.apply(pull(item(1, 2), offset=7)) is not None
    assert not inbox.rows[1].unread


def test_unread_is_set_from_the_frame() -> None:
    assert applied(pull(item(1, 1), offset=1, unread=40), live(2, 2, 1, unread=17)).unread == 17


def test_a_gap_is_not_applied() -> None:
    inbox = applied(pull(item(1, 1), offset=1, unread=1))
    with pytest.raises(GapFound):
        inbox.apply(live(3, 3, 2, unread=3))
    assert (list(inbox.rows), inbox.position, inbox.unread) == ([1], Position("e1", 1), 1)
    with pytest.raises(GapFound):
        Inbox().apply(live(1, 1, 0, unread=1))


def test_a_frame_that_is_known_already_changes_nothing() -> None:
    inbox = applied(pull(item(1, 3), offset=3, unread=1))
    assert inbox.apply(live(1, 2, 1, unread=9)) is None
    assert inbox.unread == 1


def test_the_position_moves_with_the_last_frame_of_a_pull_only() -> None:
    inbox = applied(pull(item(1, 1), offset=1), pull(item(2, 2)))
    assert inbox.position == Position("e1", 1)
    inbox.begin_connection()
    assert inbox.apply(pull(offset=1)) is not None
    assert list(inbox.rows) == [1], "the cut pull left nothing"


def test_a_pull_that_could_not_continue_replaces_everything() -> None:
    inbox = applied(pull(item(1, 1), offset=1), pull(item(8, 8), recovered=False), pull(item(9, 9), offset=9, unread=2))
    assert (list(inbox.rows), inbox.unread) == ([8, 9], 2)


def test_marks_and_deletions_are_applied() -> None:
    inbox = applied(pull(item(1, 1), item(2, 2), item(3, 3), offset=3, unread=3))
    change = inbox.apply(updated(4, 3, 1, items=[{"id": 1, **READ}, {"id": 2, "deleted": True}]))
    assert change is not None
    assert ([row.id for row in change.rows], change.deleted) == ([1], (2,))
    assert {id_: row.unread for id_, row in inbox.rows.items()} == {1: False, 3: True}
    inbox.apply(updated(5, 4, 0, upto=3, read_at=READ["read_at"]))
    assert [row.unread for row in inbox.rows.values()] == [False, False]
    inbox.apply(pull(item(2, 2), offset=5))
    assert 2 not in inbox.rows, "it was deleted later than this form of it"


def test_only_an_id_that_was_never_seen_is_new() -> None:
    inbox = applied(pull(item(1, 1), offset=1))
    again = inbox.apply(pull(item(1, 1), item(2, 2), recovered=False, offset=2))
    assert again is not None
    assert [row.id for row in again.new] == [2]


def test_a_long_text_that_is_known_is_not_replaced_by_the_short_form_of_a_pull() -> None:
    inbox = applied(pull(item(1, 1, body="long text"), offset=1), pull(item(1, 2, body="long", partial=True), offset=2))
    assert (inbox.rows[1].body, inbox.rows[1].partial, inbox.rows[1].offset) == ("long text", False, 2)


def test_a_position_is_read_as_it_was_written(tmp_path: Any) -> None:
    file = PositionFile(tmp_path / "state.json")
    assert file.read() is None
    file.write(Position("e1", 7))
    assert file.read() == Position("e1", 7)
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    for broken in ("", "{}", '{"epoch": "e1"}', "[]"):
        (tmp_path / "state.json").write_text(broken)
        assert file.read() is None


def test_a_program_that_reads_nothing_does_not_grow_for_ever() -> None:
    inbox = applied(pull(offset=0))
    for id_ in range(1, MOST_ROWS + 2):
        inbox.apply(live(id_, id_, id_ - 1, unread=id_))
    assert len(inbox.rows) == MOST_ROWS // 2
    assert max(inbox.rows) == MOST_ROWS + 1
    assert inbox.unread == MOST_ROWS + 1


def test_what_was_deleted_long_ago_is_forgotten() -> None:
    inbox = applied(pull(offset=0))
    gone = [{"id": id_, "offset": id_, "deleted": True} for id_ in range(1, MOST_ROWS + 2)]
    inbox.apply(pull(*gone, offset=MOST_ROWS + 1))
    inbox.apply(pull(item(1, 1), item(MOST_ROWS + 1, 5), offset=MOST_ROWS + 1))
    assert list(inbox.rows) == [1], "only the newest deletions are known"
