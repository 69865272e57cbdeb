"""Tests how a document becomes publications: which documents are refused, and which field the refusal names."""

from typing import Any

import orjson
import pytest

from gateway.accept import candidate
from gateway.accept.candidate import candidate_from
from gateway.http.problem import Problem
from shared.message.envelope import MAX_BODY_BYTES, parse_queued
from shared.message.headers import read_state
from tests.support.envelopes import PUSH


def filled(change: dict[str, Any]) -> dict[str, Any]:
    """Returns ``change`` with metadata that fill a notification to exactly the limit, as its caller sends it."""
    frame = orjson.dumps(PUSH | change | {"metadata": {"a": ""}})
    return change | {"metadata": {"a": "x" * (MAX_BODY_BYTES - len(frame))}}


def refusal(document: Any) -> Problem:
    with pytest.raises(Problem) as refused:
        candidate_from(document)
    return refused.value


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"content": {"body": "b"}}, "content.title"),
        ({"content": {"title": "", "body": "b"}}, "content.title"),
        ({"recipient": {"email": "a@example.com"}}, "recipient.push_tokens"),
        ({"recipient": {"push_tokens": []}}, "recipient.push_tokens"),
        ({"notification_type": "email", "recipient": {"phone": "+1"}}, "recipient.email"),
        ({"notification_type": "sms", "recipient": {"email": "a@example.com"}}, "recipient.phone"),
        ({"notification_type": "email", "content": {"body": "b"}}, "content.title"),
        (
            {"notification_type": None, "channels": ["email", "push"], "content": {"subject": "s", "body": "b"}},
            "content.title",
        ),
        ({"notification_type": "email", "recipient": {"email": "a@b＞.example"}}, "recipient.email"),
        ({"notification_type": "sms", "recipient": {"phone": "abc"}}, "recipient.phone"),
        ({"notification_type": "sms", "recipient": {"phone": "07700 900123"}}, "recipient.phone"),
        ({"content": {"title": "t", "body": "b", "data": {"from": "x"}}}, "content.data.from"),
        ({"content": {"title": "t", "body": "b", "data": {"message_type": "x"}}}, "content.data.message_type"),
        ({"content": {"title": "t", "body": "b", "data": {"google.x": "x"}}}, "content.data.google.x"),
        (
            {"content": {"title": "t", "body": "b", "data": {"gcm.notification.e": 1}}},
            "content.data.gcm.notification.e",
        ),
        ({"content": {"title": "t", "body": "b", "data": {"request_id": "other"}}}, "content.data.request_id"),
        ({"content": {"title": "t\x9b", "body": "b"}}, "content.title"),
        ({"content": {"title": "\u202e", "body": "b"}}, "content.title"),
        ({"user_id": "u\u200b"}, "user_id"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"notification_type": "websocket", "content": {"body": "b"}}, "content.title"),
        ({"notification_type": "websocket", "user_id": None, "recipient": {}}, "user_id"),
        ({"notification_type": "both", "user_id": None, "recipient": {"email": "a@example.com"}}, "user_id"),
        ({"notification_type": "both", "recipient": {}, "user_id": "u1"}, "recipient.email"),
        ({"category": "Billing"}, "category"),
        ({"category": "x" * 65}, "category"),
    ],
)
def test_what_the_channels_lack_is_422_and_names_the_field(change: dict[str, Any], field: str) -> None:
    problem = refusal(PUSH | change)
    assert problem.status == 422
    assert field in [name for name, _ in problem.errors]


def test_a_channel_that_is_planned_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "PLANNED_CHANNELS", frozenset({"push"}))
    assert ("notification_type", "the push channel is not available in this version") in refusal(PUSH).errors


def test_an_inbox_needs_nothing_but_its_user() -> None:
    document = {
        "request_id": "r-1",
        "notification_type": "websocket",
        "user_id": "u1",
        "content": {"title": "t", "body": "b"},
    }
    assert candidate_from(document).channels == ["websocket"]
    assert candidate_from(document | {"recipient": {}}).channels == ["websocket"]


def test_both_is_the_inbox_and_an_email() -> None:
    both = {
        "request_id": "r-1",
        "notification_type": "both",
        "user_id": "u1",
        "content": {"title": "t", "body": "b"},
        "priority": "high",
        "category": "billing",
        "type": "warning",
    }
    bodies = {one.routing_key: one.body for one in candidate_from(both).publications("2026-01-01T00:00:00.000Z")}
    assert bodies.keys() == {"websocket.high", "email.high"}
    for routing_key, body in bodies.items():
        channel = routing_key.partition(".")[0]
        read = parse_queued(body, channel)
        assert (read.notification_type, read.category, read.type) == (channel, "billing", "warning")


def test_every_bad_field_is_named_at_once() -> None:
    fields = {name for name, _ in refusal(PUSH | {"priority": 11, "surprise": 1, "request_id": 5}).errors}
    assert fields == {"priority", "surprise", "request_id"}


def test_a_subject_is_enough_for_an_email() -> None:
    email = PUSH | {"notification_type": "email", "content": {"subject": "s", "body": "b"}}
    assert candidate_from(email).channels == ["email"]


def test_what_only_a_push_cannot_have_is_no_fault_of_another_channel() -> None:
    data = {"from": "x", "request_id": "r-1"}
    email = PUSH | {"notification_type": "email", "content": {"title": "t", "body": "b", "data": data}}
    assert candidate_from(email).channels == ["email"]
    assert candidate_from(PUSH | {"content": {"title": "t", "body": "b", "data": {"request_id": "r-1"}}})


def test_a_number_without_a_country_code_needs_a_region() -> None:
    sms = PUSH | {"notification_type": "sms", "recipient": {"phone": "07700 900123"}}
    assert candidate_from(sms, "GB").channels == ["sms"]


def test_null_is_the_same_as_absent() -> None:
    nulls = dict.fromkeys(
        (
            *("channels", "template_code", "variables", "recipient", "priority", "metadata", "type", "category"),
            "expires_at",
        )
    )
    content = {"subject": None, "html": None, "data": None, "link": None}
    one, other = (
        candidate_from(PUSH),
        candidate_from(PUSH | nulls | {"content": {**content, "title": "t", "body": "b"}}),
    )
    assert one == other


def test_sms_needs_no_title() -> None:
    sms = PUSH | {"notification_type": "sms", "content": {"body": "b"}, "recipient": {"phone": "+15550100"}}
    assert candidate_from(sms).channels == ["sms"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"surprise": "x" * MAX_BODY_BYTES}, id="whatever else is wrong with it"),
        # The caller writes 1e15 in four characters; the published body has eighteen for it.
        pytest.param({"metadata": {"a": [1e15] * (MAX_BODY_BYTES // 19)}}, id="grows when it is encoded"),
        # A user_id that is a number is published as a string: two bytes more than the caller sent.
        pytest.param(filled({"user_id": 7}), id="the published body counts too"),
    ],
)
def test_an_item_over_64_kib_is_413(change: dict[str, Any]) -> None:
    assert refusal(PUSH | change).status == 413


def test_one_message_per_channel_in_its_lane_with_the_products_headers() -> None:
    document = PUSH | {"notification_type": None, "channels": ["push", "email"], "priority": 9}
    del document["notification_type"]
    first, second = candidate_from(document).publications("2026-01-01T00:00:00.000Z")
    assert (first.exchange, first.routing_key) == ("notifications.direct", "push.high")
    assert second.routing_key == "email.high"
    assert first.correlation_id == "r-1"
    state = read_state(first.headers)
    assert (state.accepted_at, state.attempt, state.replay) == ("2026-01-01T00:00:00.000Z", 0, 0)
    for publication, channel in ((first, "push"), (second, "email")):
        envelope = parse_queued(publication.body, channel)
        assert envelope.targets == (channel,)
        assert "channels" not in orjson.loads(publication.body)


def test_another_notification_has_another_digest() -> None:
    one = candidate_from(PUSH)
    for change in ({"content": {"title": "t", "body": "c"}}, {"priority": "low"}, {"notification_type": "email"}):
        assert candidate_from(PUSH | change).digest != one.digest
