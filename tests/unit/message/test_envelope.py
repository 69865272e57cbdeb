"""Tests the envelope: a valid one survives unchanged; an invalid one is refused, and the field is named."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidEnvelope
from shared.message.envelope import MAX_BODY_BYTES, Envelope, parse_queued, validate_envelope
from tests.support.envelopes import PUSH, VALUES


def problems(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidEnvelope) as refused:
        validate_envelope(document, extra="forbid")
    assert refused.value.reason == "invalid_envelope"
    return dict(refused.value.problems)


def reason(body: bytes, channel: str = "push") -> str:
    with pytest.raises(InvalidEnvelope) as refused:
        parse_queued(body, channel)
    return refused.value.reason


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"surprise": 1}, "surprise"),
        ({"content": {"body": "b", "surprise": 1}}, "content.surprise"),
        ({"recipient": {"fax": "1"}}, "recipient.fax"),
        ({"request_id": None}, "request_id"),
        ({"request_id": ""}, "request_id"),
        ({"request_id": "r" * 129}, "request_id"),
        ({"request_id": "a b"}, "request_id"),
        ({"request_id": "a\n"}, "request_id"),
        ({"request_id": 5}, "request_id"),
        ({"user_id": 1.5}, "user_id"),
        ({"user_id": True}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"template_code": "T"}, "content"),
        ({"content": None}, "content"),
        ({"notification_type": "fax"}, "notification_type"),
        ({"notification_type": None}, "notification_type"),
        ({"channels": ["push"]}, "notification_type"),
        ({"notification_type": None, "channels": []}, "channels"),
        ({"notification_type": None, "channels": ["push", "fax"]}, "channels.1"),
        ({"priority": 11}, "priority"),
        ({"priority": -1}, "priority"),
        ({"priority": 7.5}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": "urgent"}, "priority"),
        ({"type": "fatal"}, "type"),
        ({"variables": ["name"]}, "variables"),
        ({"metadata": "m"}, "metadata"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "1893456000"}, "expires_at"),
        ({"expires_at": 1893456000}, "expires_at"),
        ({"content": {"body": ""}}, "content.body"),
        ({"content": {"title": "t"}}, "content.body"),
        ({"content": {"body": "b\x00"}}, "content.body"),
        ({"content": {"body": "b", "title": "a\r\nBcc: x"}}, "content.title"),
        ({"content": {"body": "b", "subject": "a\nBcc: x"}}, "content.subject"),
        ({"content": {"body": "b", "subject": "a\u2028b"}}, "content.subject"),
        ({"content": {"body": "b", "link": "https://a\r\nx"}}, "content.link"),
        ({"recipient": {"email": "a@b.example\r\nBcc: c@d.example"}}, "recipient.email"),
        ({"recipient": {"email": "a@b.example, c@d.example"}}, "recipient.email"),
        ({"recipient": {"email": "nobody"}}, "recipient.email"),
        ({"recipient": {"email": "a@b@c.example"}}, "recipient.email"),
        ({"recipient": {"email": "a\x00@b.example"}}, "recipient.email"),
        ({"recipient": {"phone": "+1\n5"}}, "recipient.phone"),
        ({"surprise": None}, "surprise"),
        ({"content": {"body": None}}, "content.body"),
        ({"content": {"body": "b\x85"}}, "content.body"),
        ({"content": {"body": "\u200b"}}, "content.body"),
        ({"content": {"body": "b", "html": "\x9b"}}, "content.html"),
        ({"recipient": {"email": "a@fa\u0000ß.de"}}, "recipient.email"),
        ({"recipient": {"email": "a@b＞.example"}}, "recipient.email"),
        ({"recipient": {"push_tokens": ["t\u200b"]}}, "recipient.push_tokens.0"),
        ({"template_code": "T\u202e", "content": None}, "template_code"),
        ({"recipient": {"push_tokens": ["t"] * 101}}, "recipient.push_tokens"),
        ({"recipient": {"push_tokens": ["t\r\nx"]}}, "recipient.push_tokens.0"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], field: str) -> None:
    found = problems({**PUSH, **change})
    assert field in found
    # The library's own words ("Input should be a valid string", "Field required") change with its versions.
    assert not any(
        re.search(r"should|input|field required|value error|is not valid", why, re.I) for why in found.values()
    )


def test_invisible_characters_are_removed_from_what_people_read_and_from_addresses() -> None:
    recipient = {"email": "\u202aada@example.org\u202c", "phone": "\u202a+44 7700 900123\u202c"}
    content = {"title": "\u202eHi \u200bAda", "body": "see\ufeff", "link": "https://a.example/\u200e"}
    read = validate_envelope({**PUSH, "content": content, "recipient": recipient}, extra="forbid")
    assert read.content is not None and read.recipient is not None
    assert (read.content.title, read.content.body, read.content.link) == ("Hi Ada", "see", "https://a.example/")
    assert (read.recipient.email, read.recipient.phone) == ("ada@example.org", "+44 7700 900123")


def test_every_bad_field_is_named_at_once() -> None:
    assert problems({**PUSH, "request_id": "a b", "priority": 11, "surprise": 1}).keys() == {
        "request_id",
        "priority",
        "surprise",
    }


def test_a_missing_field_is_called_required() -> None:
    assert problems({key: value for key, value in PUSH.items() if key != "request_id"}) == {"request_id": "required"}


def test_an_error_does_not_quote_the_value() -> None:
    document = {**PUSH, "recipient": {"email": "ada at example.org"}, "content": {"body": 5, "title": "secret\n"}}
    assert "ada" not in str(problems(document))
    assert "secret" not in str(problems(document))


@pytest.mark.parametrize("document", [None, 1, "x", [], [PUSH]])
def test_a_document_that_is_no_object_is_refused(document: Any) -> None:
    assert problems(document)


def test_a_user_id_may_be_a_number() -> None:
    assert validate_envelope({**PUSH, "user_id": 42}, extra="forbid").user_id == "42"


@pytest.mark.parametrize(
    ("priority", "lane"),
    [("high", "high"), (10, "high"), (7, "high"), (6, "medium"), (4, "medium"), (3, "low"), (0, "low"), ("low", "low")],
)
def test_the_priority_chooses_the_lane(priority: Any, lane: str) -> None:
    assert validate_envelope({**PUSH, "priority": priority}, extra="forbid").lane_priority == lane


def test_without_a_priority_it_is_medium() -> None:
    assert validate_envelope(PUSH, extra="forbid").lane_priority == "medium"


def test_both_means_websocket_and_email_and_a_channel_named_twice_counts_once() -> None:
    assert validate_envelope({**PUSH, "notification_type": "both"}, extra="forbid").targets == ("websocket", "email")
    twice = {**PUSH, "notification_type": None, "channels": ["sms", "push", "sms"]}
    assert validate_envelope(twice, extra="forbid").targets == ("sms", "push")


# -- straight on a queue ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"request_id": NaN}', b'{"a": "\\ud800"}', b"[" * 2_000 + b"]" * 2_000],
    ids=["empty", "cut", "no-utf8", "nan", "surrogate", "deep"],
)
def test_a_body_that_is_no_json_is_invalid_json(body: bytes) -> None:
    assert reason(body) == "invalid_json"


@pytest.mark.parametrize("document", [1, [], {}, {**PUSH, "priority": 11}, {**PUSH, "user_id": None}])
def test_json_that_is_no_envelope_is_an_invalid_envelope(document: Any) -> None:
    assert reason(orjson.dumps(document)) == "invalid_envelope"


@pytest.mark.parametrize(
    "change", [{"notification_type": "sms"}, {"notification_type": None, "channels": ["push", "email"]}]
)
def test_an_envelope_for_another_channel_is_on_the_wrong_one(change: dict[str, Any]) -> None:
    assert reason(orjson.dumps({**PUSH, **change})) == "wrong_channel"


def test_five_megabytes_are_refused_before_they_are_read() -> None:
    assert reason(b"[" * 5_000_000) == "too_large"


def test_64_kib_are_the_limit() -> None:
    def sized(total: int) -> bytes:
        frame = orjson.dumps({**PUSH, "metadata": {"m": ""}})
        return orjson.dumps({**PUSH, "metadata": {"m": "x" * (total - len(frame))}})

    assert parse_queued(sized(MAX_BODY_BYTES), "push").request_id == "r-1"
    assert reason(sized(MAX_BODY_BYTES + 1)) == "too_large"


def test_a_field_of_a_later_version_is_ignored_on_a_queue() -> None:
    later = {**PUSH, "sound": "ping", "content": {"body": "b", "image": "x"}}
    assert parse_queued(orjson.dumps(later), "push").content is not None


def test_a_list_of_one_channel_is_as_good_as_its_name() -> None:
    listed = {key: value for key, value in PUSH.items() if key != "notification_type"} | {"channels": ["push"]}
    assert parse_queued(orjson.dumps(listed), "push").targets == ("push",)


@given(st.binary(max_size=200) | VALUES.map(orjson.dumps))
def test_every_queued_body_is_an_envelope_or_has_a_reason(body: bytes) -> None:
    try:
        parse_queued(body, "push")
    except InvalidEnvelope as exc:
        assert exc.reason in {"invalid_json", "invalid_envelope", "wrong_channel"}


def test_an_expiry_keeps_its_offset() -> None:
    envelope: Envelope = validate_envelope({**PUSH, "expires_at": "2030-01-01T02:00:00+02:00"}, extra="forbid")
    assert envelope.expires_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert envelope.expires_at.utcoffset() == timedelta(hours=2)
