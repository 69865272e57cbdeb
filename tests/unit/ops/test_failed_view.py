"""Tests what ``./notify failed`` prints: how many messages there are beyond those shown, and a body as published."""

from __future__ import annotations

from typing import Any

import pytest

from ops.failed.view import print_list, print_message, print_outcome
from shared.failed.entry import read_entry
from shared.failed.results import FailedList, FailedOutcome, UnreadableBody, item_of, message_of, nothing_done

Capture = pytest.CaptureFixture[str]


def listed(shown: int, **fields: Any) -> FailedList:
    headers = {"notify-failed-id": "one", "notify-failed-reason": "expired"}
    found: dict[str, Any] = {"scanned": shown, "waiting": shown, "matched": shown, "reasons": {"expired": shown}}
    return FailedList(items=[item_of(read_entry(b"{}", headers))] * shown, truncated=False, **{**found, **fields})


def test_a_listing_of_everything_counts_once(capsys: Capture) -> None:
    print_list(listed(2))
    assert capsys.readouterr().out.splitlines()[2:] == ["2 of 2 looked at"]


def test_a_listing_says_what_matches_beyond_the_limit_and_the_totals_by_reason(capsys: Capture) -> None:
    print_list(listed(2, scanned=9, waiting=9, matched=7, reasons={"expired": 4, "no_recipient": 3}))
    assert capsys.readouterr().out.splitlines()[2:] == [
        "4 expired, 3 no_recipient",
        "2 of 7 that match; --limit shows more",
        "2 of 9 looked at",
    ]


def test_a_listing_says_how_many_it_has_not_looked_at(capsys: Capture) -> None:
    print_list(listed(1, scanned=10_000, waiting=10_300))
    assert capsys.readouterr().out.splitlines()[1:] == ["1 of 10000 looked at; there are 10300 in the queue"]
    print_list(listed(0, scanned=10_000, waiting=10_300))
    assert capsys.readouterr().out == "None of 10000 matches; there are 10300 in the queue.\n"
    print_list(listed(0))
    assert capsys.readouterr().out == "failed.queue is empty.\n"


def test_an_action_says_that_there_may_be_more(capsys: Capture) -> None:
    print_outcome("replayed", nothing_done(dry_run=False))
    assert "more messages" not in capsys.readouterr().out
    fields = nothing_done(dry_run=False).model_dump() | {"truncated": True}
    print_outcome("replayed", FailedOutcome(**fields))
    assert "There are more messages than one scan reaches: repeat the command." in capsys.readouterr().out


def test_a_body_that_is_no_envelope_is_shown_with_its_encoding_and_headers(capsys: Capture) -> None:
    body = UnreadableBody(
        content_type="text/xml", content_encoding="gzip", headers={"sender": "crm"}, text=r"\x1f\x8b", complete=False
    )
    print_message(message_of(read_entry(b"\x1f", {}), None, body))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5:] == [
        "content_type      text/xml",
        "content_encoding  gzip",
        "header sender: crm",
        "the beginning of the body (--reveal shows more):",
        r"\x1f\x8b",
    ]


def test_a_field_of_others_stays_on_its_line_and_moves_no_cursor(capsys: Capture) -> None:
    headers = {"notify-failed-error": "a\nid  b\x1b]52;c;Zg==\x07", "notify-failed-queue": "\x9b2J\u202egnp.queue"}
    entry = read_entry(b'{"request_id": "r\\u009b"}', headers)
    print_message(message_of(entry, {"\x9b": "\u202e"}))
    print_list(FailedList(items=[item_of(entry)], scanned=1, waiting=1, matched=1, reasons={}, truncated=False))
    shown = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert shown.count(r"a\nid  b\x1b]52;c;Zg==\x07") == 2
