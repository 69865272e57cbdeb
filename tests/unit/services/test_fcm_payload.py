import dataclasses
import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.push.fcm import payload
from shared.errors import Refusal, Refused
from shared.providers.provider import Content, Message
from tests.support.messages import REQUEST_ID, message

SAME = hashlib.sha256(REQUEST_ID.encode()).hexdigest()[:32]


def sent(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(payload(message(**fields)))["message"]
    return body


def test_a_repeated_send_replaces_the_first_on_the_device() -> None:
    body = sent()
    assert body["data"]["request_id"] == REQUEST_ID
    assert body["android"]["notification"]["tag"] == SAME
    assert body["apns"]["headers"]["apns-collapse-id"] == SAME


def test_there_is_no_collapse_key_because_a_device_keeps_only_four() -> None:
    assert b"collapse_key" not in payload(message()) and b"collapseKey" not in payload(message())


def test_title_body_and_token_are_where_fcm_looks_for_them() -> None:
    body = sent(target="token-1")
    assert body["token"] == "token-1"
    assert body["notification"] == {"title": "Hello", "body": "A parcel for you"}


def test_data_values_become_strings() -> None:
    data = sent(data={"text": "a", "number": 1, "truth": True, "nothing": None, "list": [1, "b"]})["data"]
    assert data == {
        "text": "a",
        "number": "1",
        "truth": "true",
        "nothing": "null",
        "list": '[1,"b"]',
        "request_id": REQUEST_ID,
    }


def test_a_caller_cannot_overwrite_the_request_id() -> None:
    assert sent(data={"request_id": "other"})["data"]["request_id"] == REQUEST_ID


@pytest.mark.parametrize(("priority", "android", "apns"), [("high", "HIGH", "10"), ("low", "NORMAL", "5")])
def test_priority_is_told_to_both_platforms(priority: str, android: str, apns: str) -> None:
    body = sent(priority=priority)
    assert (body["android"]["priority"], body["apns"]["headers"]["apns-priority"]) == (android, apns)


def test_medium_priority_is_left_to_fcm() -> None:
    body = sent(priority="medium")
    assert "priority" not in body["android"] and "apns-priority" not in body["apns"]["headers"]


def test_a_link_opens_on_the_web_and_reaches_the_app() -> None:
    body = sent(link="https://example.com/o/42")
    assert body["webpush"] == {"fcm_options": {"link": "https://example.com/o/42"}}
    assert body["data"]["link"] == "https://example.com/o/42"


def test_a_link_that_fcm_would_refuse_reaches_only_the_app() -> None:
    body = sent(link="shop://order/42")
    assert "webpush" not in body and body["data"]["link"] == "shop://order/42"


def test_data_that_json_cannot_hold_is_the_payloads_fault() -> None:
    with pytest.raises(Refused) as caught:
        payload(message(data={"a": {1, 2}}))
    assert caught.value.refusal is Refusal.PAYLOAD_REJECTED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.text(min_size=1), st.text(), st.dictionaries(st.text(), JSON))
def test_whatever_the_content_the_body_is_json_with_string_data_or_is_refused(
    target: str, title: str, data: dict[str, Any]
) -> None:
    try:
        body = orjson.loads(payload(Message(REQUEST_ID, target, Content("b", title, data=data))))
    except Refused as refused:
        assert refused.refusal is Refusal.PAYLOAD_REJECTED
        return
    assert all(isinstance(value, str) for value in body["message"]["data"].values())


@pytest.mark.parametrize("key", ["from", "message_type", "google", "google.c.sender.id", "gcm.notification.x", "gcmx"])
def test_a_key_that_fcm_reserves_is_the_payloads_fault_and_named(key: str) -> None:
    with pytest.raises(Refused, match=key) as caught:
        payload(message(data={"order": "1", key: "x"}))
    assert caught.value.refusal is Refusal.PAYLOAD_REJECTED


@pytest.mark.parametrize("key", ["From", "fromage", "message_types", "my.google.key"])
def test_a_key_that_only_resembles_a_reserved_one_is_sent(key: str) -> None:
    assert sent(data={key: "x"})["data"][key] == "x"


def test_a_link_of_the_callers_own_in_data_is_kept() -> None:
    body = sent(data={"link": "shop://1"}, link="https://example.com/o/42")
    assert body["data"]["link"] == "shop://1"
    assert body["webpush"]["fcm_options"] == {"link": "https://example.com/o/42"}


def test_an_iphone_plays_a_sound() -> None:
    assert sent()["apns"]["payload"] == {"aps": {"sound": "default"}}


@pytest.mark.parametrize(
    ("life_s", "seconds"), [(1, "1"), (86_400, "86400"), (2_419_200, "2419200"), (10**9, "2419200")]
)
def test_the_messages_life_is_told_to_every_platform(life_s: int, seconds: str) -> None:
    live = dataclasses.replace(message(), life_s=life_s, expires_at_s=1_900_000_000)
    body = orjson.loads(payload(live))["message"]
    assert body["android"]["ttl"] == f"{seconds}s"
    assert body["webpush"] == {"headers": {"TTL": seconds}}
    assert body["apns"]["headers"]["apns-expiration"] == "1900000000"
