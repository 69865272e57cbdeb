"""Tests how a document becomes publications: which documents are refused, and which field the refusal names."""

from typing import Any

import orjson
import pytest

from gateway.accept.candidate import candidate_from
from gateway.http.problem import Problem
from shared.message.envelope import MAX_BODY_BYTES, parse_queued
from shared.message.headers import read_state

PUSH: dict[str, Any] = {
    "request_id": "r-1",
    "notification_type": "push",
    "user_id": "u-1",
    "content": {"title": "t", "body": "b"},
}


def refusal(document: Any) -> Problem:
    with pytest.raises(Problem) as refused:
        candidate_from(document)
    return refused.value


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"request_id": None}, "request_id"),
        ({"request_id": "a b"}, "request_id"),
        ({"surprise": 1}, "surprise"),
        ({"content": {"title": "t", "body": "b", "surprise": 1}}, "content.surprise"),
        ({"recipient": {"push_tokens": ["t"], "fax": "1"}}, "recipient.fax"),
        ({"priority": 11}, "priority"),
        ({"priority": True}, "priority"),
        ({"user_id": False}, "user_id"),
        ({"notification_type": "pigeon"}, "notification_type"),
        ({"channels": ["push"]}, "notification_type"),
        ({"template_code": "T"}, "content"),
        ({"content": None}, "content"),
        ({"user_id": None}, "user_id"),
        ({"content": {"title": "a\r\nBcc: b", "body": "b"}}, "content.title"),
        ({"content": {"title": "t", "body": "b", "subject": "a\nb"}}, "content.subject"),
        ({"content": {"title": "t", "body": "b\x00"}}, "content.body"),
        ({"content": {"body": "b"}}, "content.title"),
        ({"content": {"title": "", "body": "b"}}, "content.title"),
        ({"recipient": {"email": "a@b\r\nBcc: c@d"}}, "recipient.email"),
        ({"recipient": {"email": "a@example.com"}}, "recipient.push_tokens"),
        ({"recipient": {"push_tokens": []}}, "recipient.push_tokens"),
        ({"recipient": {"push_tokens": ["t"] * 101}}, "recipient.push_tokens"),
        ({"notification_type": "email", "recipient": {"phone": "+1"}}, "recipient.email"),
        ({"notification_type": "sms", "recipient": {"email": "a@example.com"}}, "recipient.phone"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"notification_type": "websocket"}, "notification_type"),
        ({"notification_type": "both"}, "notification_type"),
        ({"notification_type": None, "channels": ["push", "websocket"]}, "channels"),
    ],
)
def test_what_is_wrong_is_422_and_names_the_field(change: dict[str, Any], field: str) -> None:
    problem = refusal(PUSH | change)
    assert problem.status == 422
    assert field in [name for name, _ in problem.errors]


def test_a_channel_that_is_planned_is_named() -> None:
    assert "websocket" in refusal(PUSH | {"notification_type": "both"}).errors[0][1]


def test_every_bad_field_is_named_at_once() -> None:
    fields = {name for name, _ in refusal(PUSH | {"priority": 11, "surprise": 1, "request_id": 5}).errors}
    assert fields == {"priority", "surprise", "request_id"}


@pytest.mark.parametrize("document", [None, 1, "x", []])
def test_a_document_that_is_not_an_object_is_422(document: Any) -> None:
    assert refusal(document).status == 422


def test_sms_needs_no_title() -> None:
    sms = PUSH | {"notification_type": "sms", "content": {"body": "b"}, "recipient": {"phone": "+15550100"}}
    assert candidate_from(sms).channels == ["sms"]


def test_an_item_over_64_kib_is_413() -> None:
    assert refusal(PUSH | {"metadata": {"a": "x" * MAX_BODY_BYTES}}).status == 413


def test_an_item_over_64_kib_is_413_whatever_else_is_wrong_with_it() -> None:
    assert refusal(PUSH | {"surprise": "x" * MAX_BODY_BYTES}).status == 413


def test_the_published_body_counts_too() -> None:
    # A user_id that is a number is published as a string: two bytes more than the caller sent.
    document = PUSH | {"user_id": 7, "metadata": {"a": ""}}
    document["metadata"] = {"a": "x" * (MAX_BODY_BYTES - len(orjson.dumps(document)))}
    assert len(orjson.dumps(document)) == MAX_BODY_BYTES
    assert refusal(document).status == 413


def test_a_notification_that_grows_over_64_kib_when_it_is_encoded_is_413() -> None:
    # The caller writes 1e15 in four characters; the published body has eighteen for it.
    numbers = [1e15] * (MAX_BODY_BYTES // 19)
    assert refusal(PUSH | {"metadata": {"a": numbers}}).status == 413


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


def test_the_order_of_keys_changes_neither_the_digest_nor_the_bytes() -> None:
    document = PUSH | {"metadata": {"a": 1, "b": {"c": 2, "d": 3}}}
    turned = dict(reversed(document.items())) | {"metadata": {"b": {"d": 3, "c": 2}, "a": 1}}
    one, other = candidate_from(document), candidate_from(turned)
    assert one.digest == other.digest
    assert one.parts == other.parts


def test_another_notification_has_another_digest() -> None:
    one = candidate_from(PUSH)
    for change in ({"content": {"title": "t", "body": "c"}}, {"priority": "low"}, {"notification_type": "email"}):
        assert candidate_from(PUSH | change).digest != one.digest
