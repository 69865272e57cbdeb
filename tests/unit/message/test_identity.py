"""Tests which messages are the same: how a document is written does not matter, what it says and who sent it do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given

from shared.message.envelope import validate_envelope
from shared.message.identity import (
    body_hash,
    canonical_form,
    message_hash,
    published_body,
    readable_request_id,
    scoped_id,
)
from tests.faults.ledger import wire
from tests.support.envelopes import ENVELOPES

PUSH: dict[str, Any] = {
    "request_id": "otp-1",
    "notification_type": "push",
    "user_id": "7",
    "content": {"title": "Grüße", "body": "b", "data": {"n": 7, "list": [1, 2.5, None]}},
    "variables": {"price": 20, "none": None},
    "expires_at": "2030-01-01T12:00:00Z",
    "priority": 9,
}


def hash_of(body: bytes, channel: str = "push") -> str:
    return message_hash(body, orjson.loads(body), channel)


def turned(value: Any) -> Any:
    """Returns the same document with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


WRITERS: dict[str, Callable[[Any], bytes]] = {
    "spaces": lambda document: json.dumps(document, indent=4).encode(),
    "another order": lambda document: orjson.dumps(turned(document)),
    "escapes": lambda document: json.dumps(document, ensure_ascii=True).encode(),
    "a line break at the end": lambda document: orjson.dumps(document) + b"\n",
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_the_same_json_is_the_same_message_however_it_is_written(write: Callable[[Any], bytes]) -> None:
    assert hash_of(write(PUSH)) == hash_of(orjson.dumps(PUSH))


@given(ENVELOPES)
def test_the_same_json_by_http_and_then_by_amqp_is_the_same_message(document: dict[str, Any]) -> None:
    for channel in validate_envelope(document, extra="forbid").targets:
        stored = hash_of(published_body(document, channel), channel)
        for write in WRITERS.values():
            assert hash_of(write(document), channel) == stored


@pytest.mark.parametrize(
    "change",
    [
        {"channels": ["push"], "notification_type": None},
        {"user_id": 7},
        {"user_id": 7.0},
        {"priority": 9.0},
        {"template_code": None},
        {"recipient": None},
        {"content": PUSH["content"] | {"html": None}},
        {"variables": {"none": None, "price": 20.0}},
        {"variables": {"none": None, "price": 2e1}},
        {"expires_at": "2030-01-01T14:00:00+02:00"},
        {"expires_at": "2030-01-01t12:00z"},
        {"expires_at": "2030-01-01 12:00:00.000Z"},
    ],
    ids=str,
)
def test_two_forms_of_one_value_are_the_same_message(change: dict[str, Any]) -> None:
    assert hash_of(orjson.dumps(PUSH | change)) == hash_of(orjson.dumps(PUSH))


@pytest.mark.parametrize(
    "change",
    [
        {"content": {"title": "Grüße", "body": "c"}},
        {"user_id": "07"},
        {"user_id": True},
        {"user_id": None},
        {"variables": {"price": 20}},
        {"variables": {"price": "20", "none": None}},
        {"variables": {"price": 20.5, "none": None}},
        {"priority": "9"},
        {"expires_at": "2030-01-01T12:00:00.001Z"},
        {"expires_at": "2030-01-01T12:00:00"},
        {"later": 1},
    ],
    ids=str,
)
def test_another_value_is_another_message(change: dict[str, Any]) -> None:
    assert hash_of(orjson.dumps(PUSH | change)) != hash_of(orjson.dumps(PUSH))


def test_the_form_never_changes() -> None:
    """Compares with literals: records of earlier messages hold hashes of this form."""
    form = canonical_form(PUSH | {"user_id": 7, "channels": ["push"], "metadata": None}, "push")
    assert form.decode() == (
        '{"content":{"body":"b","data":{"list":[1,2.5,null],"n":7},"title":"Grüße"},"expires_at":"2030-01-01T12:00:00Z",'
        '"notification_type":"push","priority":9,"request_id":"otp-1","user_id":"7",'
        '"variables":{"none":null,"price":20}}'
    )
    assert hash_of(orjson.dumps(PUSH)) == hashlib.sha256(form).digest()[:8].hex() == "553bfe9019b36a84"


@pytest.mark.parametrize("version", wire.versions())
def test_a_message_of_an_earlier_gateway_keeps_its_hash(version: str) -> None:
    """Its records hold the hash of its bytes, which are in canonical form: no record is lost by an upgrade."""
    body = wire.golden(version, "gateway")["published"]["body"].encode()
    assert hash_of(body) == body_hash(body)


@given(ENVELOPES)
def test_the_form_of_the_form_is_the_form(document: dict[str, Any]) -> None:
    channel = validate_envelope(document, extra="forbid").targets[0]
    form = canonical_form(document, channel)
    assert canonical_form(orjson.loads(form), channel) == form


def test_what_is_published_is_what_the_caller_wrote() -> None:
    document = PUSH | {"user_id": 7, "priority": 9.0, "recipient": {"email": None}, "metadata": {"m": None, "n": 1.0}}
    document |= {"channels": ["push"], "notification_type": None, "template_code": None}
    published = orjson.loads(published_body(document, "push"))
    left_out = {"channels": None, "template_code": None}
    same = {name: value for name, value in document.items() if name not in left_out}
    assert published == same | {"notification_type": "push", "user_id": "7", "recipient": {}}
    assert document["recipient"] == {"email": None}


def test_a_document_that_is_nested_too_deeply_for_a_form_is_known_by_its_bytes() -> None:
    body = orjson.dumps(PUSH)[:-1] + b',"metadata":' + b'{"a":' * 300 + b"1.0" + b"}" * 301
    assert hash_of(body) == body_hash(body)


def test_an_id_belongs_to_its_sender() -> None:
    assert scoped_id("", "otp-1") == "otp-1"
    assert scoped_id("shop", "otp-1") == "@shop:otp-1"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"request_id": "otp-1",', "otp-1"),
        (b'{"request_id"\n:\t"a:b_c.d-1", "content": {"body": "\xff"}}', "a:b_c.d-1"),
        (b'{"content": {"request_id": "inner"}}', "inner"),
        (b'{"request_id": 5}', ""),
        (b'{"request_id": "has a space"}', ""),
        (b'{"request_id": "' + b"x" * 129 + b'"}', ""),
        (b" " * 2_000_000 + b'{"request_id": "otp-1"}', ""),
        (b"", ""),
        (b"\x00\xff", ""),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_the_id_of_an_unreadable_body_is_found_if_it_is_there(body: bytes, found: str) -> None:
    assert readable_request_id(body) == found
