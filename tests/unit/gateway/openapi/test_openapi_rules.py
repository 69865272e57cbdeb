"""Tests that the OpenAPI document and the gateway agree on requests: allowed ones are accepted, others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gateway.api.resources import RESOURCES
from gateway.openapi import openapi_document
from shared.failed.selection import parse_discard, parse_listing
from shared.message.envelope import validate_envelope
from shared.settings.groups.gateway import ApiKey
from tests.support.fakes.gateway_client import Gateway, gateway

PUSH: dict[str, Any] = {"request_id": "r1", "notification_type": "push", "user_id": "u1", "template_code": "T"}


def allowed(model: str, document: dict[str, Any]) -> bool:
    schema = {"$ref": f"#/components/schemas/{model}", "components": openapi_document(RESOURCES)["components"]}
    return jsonschema_rs.is_valid(schema, document)


@pytest.mark.parametrize("path", ["/failed/replay", "/failed/discard"])
def test_get_on_an_operation_is_a_wrong_method_and_not_a_missing_message(made: Gateway, path: str) -> None:
    answer = made.client.get(path)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


@pytest.mark.parametrize("keys_needed", [False, True])
def test_only_a_gateway_without_keys_says_that_none_is_needed(tmp_path: Path, keys_needed: bool) -> None:
    keys = (ApiKey(client="shop", scopes=frozenset({"send"}), sha256="0" * 64),) if keys_needed else ()
    with gateway(tmp_path, api_keys=keys) as made:
        served = made.client.get("/openapi.json").get_json()
    assert ({} in served["paths"]["/notifications"]["post"]["security"]) is not keys_needed
    assert ({} in served["paths"]["/failed"]["get"]["security"]) is not keys_needed
    assert served["paths"]["/health"]["get"]["security"] == []


def test_a_whole_number_may_be_written_with_a_point() -> None:
    envelope = validate_envelope({**PUSH, "priority": 7.0, "user_id": 42.0}, extra="forbid")
    assert (envelope.lane_priority, envelope.user_id) == ("high", "42")
    assert b'"priority":7,' in envelope.body_for("push")
    assert parse_discard({"all": True, "limit": 5.0}).limit == 5


def test_null_is_allowed_where_a_field_may_be_absent() -> None:
    optional = ("channels", "variables", "recipient", "content", "priority", "metadata", "type", "expires_at")
    assert allowed("Envelope", {**PUSH, **dict.fromkeys(optional)})


@pytest.mark.parametrize("name", ["push", "email", "sms", "websocket"])
def test_the_document_offers_every_channel(name: str) -> None:
    assert allowed("Envelope", {**PUSH, "notification_type": name})
    assert allowed("Envelope", {**PUSH, "notification_type": None, "channels": [name]})
    assert allowed("Envelope", {**PUSH, "notification_type": "both", "category": "billing.paid"})


@pytest.mark.parametrize(
    "change",
    [
        {"notification_type": "fax"},
        {"notification_type": None, "channels": ["push", "both"]},
        {"category": "Billing"},
        {"channels": ["push"]},
        {"notification_type": None},
        {"content": {"title": "t", "body": "b"}},
        {"template_code": None},
        {"user_id": None},
        {"user_id": 2**64},
        {"template_code": "a\nb"},
        {"recipient": {"email": "two@example.org, three@example.org"}},
        {"user_id": "u\u202e"},
        {"user_id": "u\x9b"},
    ],
)
def test_the_document_forbids_what_is_refused(change: dict[str, Any]) -> None:
    assert allowed("Envelope", PUSH)
    assert not allowed("Envelope", {**PUSH, **change})


def test_the_document_says_how_failed_messages_are_named() -> None:
    assert allowed("Selection", {"all": True})
    assert allowed("Selection", {"older_than": "15m"})
    for refused in ({}, {"all": False}, {"ids": None}, {"older_than": "15"}, {"reason": "none"}, {"channel": "fax"}):
        assert not allowed("Selection", refused)


def test_the_listings_query_has_the_listings_bounds() -> None:
    parameters = {
        each["name"]: each["schema"] for each in openapi_document(RESOURCES)["paths"]["/failed"]["get"]["parameters"]
    }
    assert parameters.keys() == type(parse_listing({})).model_fields.keys()
    assert parameters["older_than"]["pattern"] == "^([0-9]{1,9})([smhd])$"
    assert (parameters["limit"]["minimum"], parameters["limit"]["maximum"]) == (1, 1_000)
    assert parameters["request_id"]["maxLength"] == 128
