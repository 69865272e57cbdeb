"""Tests which failed messages an operator selects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.clock import rfc3339
from shared.errors import InvalidSelection
from shared.failed.entry import FailedEntry, read_entry
from shared.failed.selection import age_ms, parse_discard, parse_listing, parse_replay

NOW = 1_800_000_000_000


def entry(age_s: float | None = 60, queue: str = "push.queue") -> FailedEntry:
    written = {"notify-failed-id": "one", "notify-failed-queue": queue, "notify-failed-reason": "expired"}
    if age_s is not None:
        written["notify-failed-at"] = rfc3339(NOW - round(age_s * 1000))
    return read_entry(b'{"request_id": "r1"}', written)


@pytest.mark.parametrize(("text", "ms"), [("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("3d", 259_200_000)])
def test_an_age_is_a_number_and_its_unit(text: str, ms: int) -> None:
    assert age_ms(text) == ms
    assert parse_discard({"older_than": text}).older_than == text


@pytest.mark.parametrize("text", ["", "15", "m", "-1m", "1.5h", "1y", "1m ", "1 m", "1h30m", "٣m", "9999999999s"])
def test_anything_else_is_no_age(text: str) -> None:
    with pytest.raises(InvalidSelection) as refused:
        parse_discard({"older_than": text})
    assert [field for field, _ in refused.value.problems] == ["older_than"]


def test_older_than_counts_from_the_failure_and_never_matches_an_unknown_time() -> None:
    selection = parse_discard({"older_than": "15m"})
    assert selection.matches(entry(age_s=900), NOW)
    assert not selection.matches(entry(age_s=899), NOW)
    assert not selection.matches(entry(age_s=None), NOW)
    assert parse_discard({"all": True}).matches(entry(age_s=None), NOW)


def test_everything_given_must_match() -> None:
    right = {"channel": "push", "reason": "expired", "request_id": "r1", "older_than": "1m", "ids": ["one", "two"]}
    right["client"] = ""
    assert parse_replay(right).matches(entry(), NOW)
    wrong = {"channel": "sms", "reason": "no_recipient", "request_id": "r2", "older_than": "2m", "ids": ["two"]}
    wrong["client"] = "shop"
    for field, value in wrong.items():
        assert not parse_replay({**right, field: value}).matches(entry(), NOW), field
        assert not parse_replay({"all": True, field: value}).matches(entry(), NOW), field


def test_an_entry_of_an_unknown_channel_matches_no_channel() -> None:
    lost = entry(queue="fax.queue")
    assert not parse_discard({"channel": "push"}).matches(lost, NOW)
    assert parse_discard({"reason": "expired"}).matches(lost, NOW)


def test_a_listing_needs_no_selector() -> None:
    assert parse_listing({}).limit == 100
    assert parse_listing({}).matches(entry(), NOW)


def test_the_log_contains_only_the_given_selectors() -> None:
    selection = parse_replay({"ids": ["one"], "channel": "push", "dry_run": True, "ignore_expiry": True})
    assert selection.named() == {"ids": ["one"], "channel": "push"}


def test_one_clients_messages_can_be_selected() -> None:
    shops = replace(entry(), client="shop")
    assert parse_discard({"client": "shop"}).matches(shops, NOW)
    assert not parse_discard({"client": "bank"}).matches(shops, NOW)
    assert not parse_discard({"client": ""}).matches(shops, NOW)
    with pytest.raises(InvalidSelection) as refused:
        parse_discard({"client": "a:b"})
    assert refused.value.problems[0][0] == "client"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"limit": 0}, ("limit", "must be at least 1")),
        ({"limit": "x"}, ("limit", "must be a whole number")),
        ({"all": "yes"}, ("all", "must be true or false")),
        ({"ids": 5}, ("ids", "must be an array")),
        ({"request_id": ""}, ("request_id", "must not be empty")),
        ({"colour": "red"}, ("colour", "unknown field")),
    ],
    ids=str,
)
def test_a_bad_field_is_named_in_plain_words(fields: dict[str, Any], problem: tuple[str, str]) -> None:
    with pytest.raises(InvalidSelection) as refused:
        parse_discard(fields)
    assert refused.value.problems == (problem,)
