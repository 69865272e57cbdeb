"""Tests the routes of the inbox and of tokens without servers: what is refused, and what happens without a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from werkzeug.test import TestResponse

from gateway.api.resources import RESOURCES
from gateway.api.tokens import TokenAnswer
from gateway.http.problem import ProblemDocument
from gateway.openapi import openapi_document
from services.websocket.transport.poll import answer_of
from shared import clock
from shared.errors import DataRejected
from shared.settings.groups.gateway import ApiKey
from shared.store.values import Owner, Position, Pull, Summary
from tests.support.fakes.gateway_client import Gateway, gateway
from tests.support.inbox_rows import row

KEYS = f"k1:{'s' * 32}"
TOKENS, OPERATE = "key-for-tokens", "key-to-operate"


def key(client: str, text: str, *scopes: str) -> ApiKey:
    return ApiKey(client=client, scopes=frozenset(scopes), sha256=hashlib.sha256(text.encode()).hexdigest())


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Gateway]:
    keys = (key("backend", TOKENS, "tokens"), key("ops", OPERATE, "operate"))
    with gateway(tmp_path, api_keys=keys, socket_token_keys=KEYS) as made:
        yield made


def faults(answer: TestResponse, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.data
    assert answer.content_type == "application/problem+json"
    return {error.field: error.detail for error in ProblemDocument.model_validate_json(answer.data).errors}


def document_allows(model: str, body: Any) -> bool:
    schema = {"$ref": f"#/components/schemas/{model}", "components": openapi_document(RESOURCES)["components"]}
    return jsonschema_rs.is_valid(schema, body)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=new", "status"),
        ("type=fatal", "type"),
        ("priority=urgent", "priority"),
        ("category=", "category"),
        ("cursor=0", "cursor"),
        ("cursor=9007199254740992", "cursor"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("skip=-1", "skip"),
        ("skip=10001", "skip"),
        ("page=2", "page"),
        ("limit=1&limit=2", "limit"),
    ],
)
def test_a_bad_query_is_422_and_names_its_field(made: Gateway, query: str, field: str) -> None:
    assert set(faults(made.client.get(f"/users/u1/inbox?{query}"), 422)) == {field}


@pytest.mark.parametrize("position", ["", "7", "abc:1", "9f2c51d0:", "9F2C51D0:1", "9f2c51d0:-1", ":x", "9f2c51d0:1:2"])
def test_a_bad_position_is_422(made: Gateway, position: str) -> None:
    assert set(faults(made.client.get(f"/users/u1/inbox/changes?position={position}"), 422)) == {"position"}


@pytest.mark.parametrize("user_id", ["u" * 257, "u%00", "u%0A", "u%E2%80%AE"])
@pytest.mark.parametrize("path", ["/inbox", "/inbox/count", "/inbox/changes", "/inbox/1", "/presence"])
def test_a_user_id_that_cannot_be_is_422(made: Gateway, user_id: str, path: str) -> None:
    assert set(faults(made.client.get(f"/users/{user_id}{path}"), 422)) == {"user_id"}


@pytest.mark.parametrize("path", ["/inbox", "/inbox/count", "/inbox/changes", "/inbox/1", "/presence"])
def test_bytes_that_are_not_utf_8_name_nobody(made: Gateway, path: str) -> None:
    # As in %FF, %E9 (an é in Latin-1) and %ED%A0%80 (half of a surrogate pair): WSGI has one character per byte.
    for user_id in ("\xff", "caf\xe9", "\xed\xa0\x80"):
        answer = made.client.get("/", environ_overrides={"PATH_INFO": f"/users/{user_id}{path}"})
        assert faults(answer, 422) == {"user_id": "must be UTF-8, percent-encoded"}
    # It may stand in a user_id like any other character.
    assert made.client.get(f"/users/%EF%BF%BD{path}").status_code == 503


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "read"),
        ({"read": None}, "read"),
        ({"read": 1}, "read"),
        ({"archived": "yes"}, "archived"),
        ({"read": True, "deleted": True}, "deleted"),
        ([], ""),
    ],
)
def test_bad_marks_are_422_and_the_document_forbids_them(made: Gateway, body: Any, field: str) -> None:
    assert set(faults(made.client.patch("/users/u1/inbox/1", json=body), 422)) == {field}
    assert not document_allows("Marks", body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "upto"),
        ({"read": True}, "upto"),
        ({"upto": 1}, "read"),
        ({"upto": 1, "read": False}, "read"),
        ({"upto": 1, "read": True, "archived": True}, "archived"),
        ({"upto": 1, "ids": [1], "read": True}, "upto"),
        ({"upto": 0, "read": True}, "upto"),
        ({"upto": 2**53, "read": True}, "upto"),
        ({"upto": "1", "read": True}, "upto"),
        ({"ids": [1]}, "read"),
        ({"ids": [], "read": True}, "ids"),
        ({"ids": [1] * 101, "read": True}, "ids"),
        ({"ids": [1, 0], "read": True}, "ids.1"),
        ({"ids": [1, True], "read": True}, "ids.1"),
    ],
)
def test_bad_marks_of_many_are_422_and_the_document_forbids_them(made: Gateway, body: Any, field: str) -> None:
    assert set(faults(made.client.patch("/users/u1/inbox", json=body), 422)) == {field}
    assert not document_allows("ManyMarks", body)


@pytest.mark.parametrize("path", ["/users/u1/inbox/0", "/users/u1/inbox/9999999999999999", "/users/u1/inbox/abc"])
def test_no_such_notification_is_never_a_fault_of_the_server(made: Gateway, path: str) -> None:
    assert made.client.get(path).status_code in (404, 503)


def test_without_a_store_every_route_is_503_and_notifications_are_accepted(made: Gateway) -> None:
    calls = [
        made.client.get("/users/u1/inbox"),
        made.client.get("/users/u1/inbox/count"),
        made.client.get("/users/u1/inbox/changes"),
        made.client.get("/users/u1/inbox/1"),
        made.client.patch("/users/u1/inbox/1", json={"read": True}),
        made.client.patch("/users/u1/inbox", json={"upto": 1, "read": True}),
        made.client.delete("/users/u1/inbox/1"),
    ]
    for answer in calls:
        assert faults(answer, 503) == {}
        assert int(answer.headers["Retry-After"]) >= 1
        assert "store of the inboxes" in answer.get_json()["detail"]
    push = {"request_id": "r1", "notification_type": "push", "user_id": "u1", "template_code": "T"}
    assert made.client.post("/notifications", json=push).status_code == 202


def test_a_value_that_the_database_refuses_is_the_callers_fault(made: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(owner: Owner) -> Summary:
        raise DataRejected("UntranslatableCharacter (22P05)")

    monkeypatch.setattr(made.store, "check_schema", lambda: None)
    monkeypatch.setattr(made.store, "summary", refuse)
    assert faults(made.client.get("/users/u1/inbox/count"), 422) == {"user_id": "cannot be stored"}


@pytest.mark.parametrize("recovered", [True, False])
def test_changes_are_the_answer_of_a_poll_that_does_not_wait(
    made: Gateway, monkeypatch: pytest.MonkeyPatch, recovered: bool
) -> None:
    extra = '{"link": "https://example.com", "data": {"a": [1, null]}, "metadata": {"b": 1.5}}'
    live = (row(1, extra=extra, expires_ms=2**45), row(2, category="billing", read_ms=5), row(3, partial=True))
    rows = (*live, row(4, archived_ms=7, deleted_ms=9)) if recovered else live
    pull = Pull(Owner("u1"), Position("0badcafe", 9), 2, recovered, rows, more=not recovered)
    monkeypatch.setattr(made.store, "check_schema", lambda: None)
    monkeypatch.setattr(made.store, "pull", lambda wanted: [pull])
    answer = made.client.get("/users/u1/inbox/changes?position=0badcafe:3")
    assert (answer.status_code, answer.get_json()) == (200, orjson.loads(answer_of(pull)))


def test_without_redis_presence_and_tickets_are_503(made: Gateway) -> None:
    for answer in (
        made.client.get("/users/u1/presence"),
        made.client.post("/auth/ticket", json={"user_id": "u1"}),
    ):
        assert faults(answer, 503) == {}
        assert int(answer.headers["Retry-After"]) >= 1


def test_health_says_that_the_store_is_away_and_stays_200(made: Gateway) -> None:
    assert made.client.get("/health").get_json()["store"] == "up"
    made.probe.up = False
    answer = made.client.get("/health")
    assert (answer.status_code, answer.get_json()["status"], answer.get_json()["store"]) == (200, "degraded", "down")
    assert made.client.get("/health/ready").status_code == 200


def test_a_backend_gets_a_token_for_its_user(guarded: Gateway) -> None:
    answer = guarded.client.post(
        "/auth/token",
        json={"user_id": "u1", "channels": ["news.*"], "ttl_s": 60},
        headers={"X-API-Key": TOKENS},
    )
    assert answer.status_code == 200
    pair = TokenAnswer.model_validate_json(answer.data)
    claims = guarded.tokens.verify(pair.token)
    assert (claims.user_id, claims.channels) == ("u1", ("news.*",))
    assert claims.expires_ms == clock.parse_rfc3339(pair.expires_at)
    assert 58_000 < claims.expires_ms - clock.now_ms() <= 60_000
    assert guarded.tokens.verify_refresh(pair.refresh_token).life_s == 60


def test_a_number_may_be_the_user_as_in_a_notification(guarded: Gateway) -> None:
    answer = guarded.client.post("/auth/token", json={"user_id": 42}, headers={"X-API-Key": TOKENS})
    assert guarded.tokens.verify(answer.get_json()["token"]).user_id == "42"


@pytest.mark.parametrize("path", ["/auth/token", "/auth/ticket"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "u\n"}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": "u1", "ttl_s": 0}, "ttl_s"),
        ({"user_id": "u1", "ttl_s": 86_401}, "ttl_s"),
        ({"user_id": "u1", "ttl_s": "60"}, "ttl_s"),
        ({"user_id": "u1", "channels": "news"}, "channels"),
        ({"user_id": "u1", "channels": ["*.news"]}, "channels.0"),
        ({"user_id": "u1", "channels": ["a", ""]}, "channels.1"),
        ({"user_id": "u1", "channels": ["a"] * 21}, "channels"),
        ({"user_id": "u1", "admin": True}, "admin"),
    ],
)
def test_a_bad_grant_is_422_and_the_document_forbids_it(guarded: Gateway, path: str, body: Any, field: str) -> None:
    assert set(faults(guarded.client.post(path, json=body, headers={"X-API-Key": TOKENS}), 422)) == {field}
    assert not document_allows("Grant", body)


@pytest.mark.parametrize("path", ["/auth/token", "/auth/ticket", "/auth/refresh"])
def test_a_key_needs_the_scope_tokens(guarded: Gateway, path: str) -> None:
    body = {"refresh_token": "x"} if path == "/auth/refresh" else {"user_id": "u1"}
    for credential, status in ((OPERATE, 403), ("unknown", 401)):
        assert faults(guarded.client.post(path, json=body, headers={"X-API-Key": credential}), status) == {}
    if path != "/auth/refresh":
        assert faults(guarded.client.post(path, json=body), 401) == {}


def test_a_users_token_makes_no_further_token(guarded: Gateway) -> None:
    own = {"Authorization": f"Bearer {guarded.tokens.sign('u1').text}"}
    assert faults(guarded.client.post("/auth/token", json={"user_id": "u1"}, headers=own), 401) == {}


def test_a_users_token_makes_tickets_for_that_user_and_its_own_channels_only(guarded: Gateway) -> None:
    own = {"Authorization": f"Bearer {guarded.tokens.sign('u1', ['news.*']).text}"}
    other = guarded.client.post("/auth/ticket", json={"user_id": "u2"}, headers=own)
    assert faults(other, 403) == {"user_id": "is not the token's user"}
    beyond = {"user_id": "u1", "channels": ["news.sports", "weather", "*"]}
    assert set(faults(guarded.client.post("/auth/ticket", json=beyond, headers=own), 403)) == {
        "channels.1",
        "channels.2",
    }


def test_a_bad_refresh_token_is_401_and_names_its_field(guarded: Gateway) -> None:
    for token in ("x", guarded.tokens.sign("u1").text):
        answer = guarded.client.post("/auth/refresh", json={"refresh_token": token})
        assert set(faults(answer, 401)) == {"refresh_token"}
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert set(faults(guarded.client.post("/auth/refresh", json={}), 422)) == {"refresh_token"}


def test_without_signing_keys_no_tokens_are_made(made: Gateway) -> None:
    answer = made.client.post("/auth/token", json={"user_id": "u1"})
    assert faults(answer, 503) == {}
    assert "SOCKET_TOKEN_KEYS" in answer.get_json()["detail"]
    assert int(answer.headers["Retry-After"]) >= 1


def test_an_expired_token_says_so(guarded: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = clock.now_ms()
    with monkeypatch.context() as past:
        past.setattr(clock, "now_ms", lambda: now_ms - 3_600_000)
        expired = guarded.tokens.sign("u1", life_s=60).text
    answer = guarded.client.get("/users/u1/inbox", headers={"Authorization": f"Bearer {expired}"})
    assert answer.status_code == 401
    assert answer.get_json()["detail"] == "the token has expired"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/users/a%2Fb/inbox", {"GET", "PATCH"}),
        ("/users/a%2Fb/inbox/count", {"GET"}),
        ("/users/a%2Fb/inbox/changes", {"GET"}),
        ("/users/a%2Fb/inbox/7", {"GET", "PATCH", "DELETE"}),
        ("/users/a%2Fb/presence", {"GET"}),
        ("/auth/token", {"POST"}),
    ],
)
def test_a_wrong_method_is_405_with_those_that_exist(made: Gateway, path: str, methods: set[str]) -> None:
    answer = made.client.put(path)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == methods


def test_a_users_token_is_in_the_document_where_it_is_good() -> None:
    paths = openapi_document(RESOURCES, keys_needed=True)["paths"]
    own = {
        (path, method)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if {"token": []} in operation["security"]
    }
    assert own == {
        *((path, method) for path in paths if path.startswith("/users/") for method in paths[path]),
        ("/auth/ticket", "post"),
    }
    assert {} in paths["/auth/refresh"]["post"]["security"]
    assert {} not in paths["/auth/token"]["post"]["security"]
