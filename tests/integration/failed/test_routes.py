"""Tests ``/failed`` with a real broker: what the gateway answers to an operator."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.http.problem import ProblemDocument
from shared.broker.publisher import Publication
from shared.failed.results import FailedItem, FailedList, FailedMessage, FailedOutcome
from shared.failed.session import failed_operation
from shared.message.channels import Lane
from shared.settings.groups.gateway import ApiKey
from tests.support.failed_messages import counts, dead_letter_now, failed, push_body, settings_for
from tests.support.fakes.gateway_client import gateway

_OPERATOR, _SENDER = "operators-key", "senders-key"


def _key(client: str, scope: str, secret: str) -> ApiKey:
    return ApiKey(client=client, scopes=frozenset({scope}), sha256=hashlib.sha256(secret.encode()).hexdigest())


@pytest.fixture
def client(tmp_path: Path, vhost_url: str) -> Iterator[FlaskClient]:
    keys = (_key("ops", "operate", _OPERATOR), _key("shop", "send", _SENDER))
    url = settings_for(vhost_url).broker.given_url
    with gateway(tmp_path, rabbitmq_url=url, retry_levels_s=(1.0, 5.0), api_keys=keys) as made:
        client = made.client
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {_OPERATOR}"
        yield client


@pytest.fixture
def dead_lettered(vhost_url: str) -> list[Publication]:
    messages = [
        failed("r1", body=push_body("r1", recipient={"push_tokens": ["device-token-1234"], "email": "a@b.c"})),
        failed("r2", reason="recipient_invalid", lane=Lane("email", "high")),
        failed("r3", body=b"\xff"),
    ]
    dead_letter_now(vhost_url, messages)
    return messages


def _id(message: Publication) -> str:
    failed_id: str = message.headers["notify-failed-id"]
    return failed_id


def _problem(answer: TestResponse, status: int) -> ProblemDocument:
    assert answer.status_code == status, answer.data
    assert answer.content_type == "application/problem+json"
    return ProblemDocument.model_validate_json(answer.data)


def test_a_listing_has_every_field_and_obeys_its_filters(client: FlaskClient, dead_lettered: list[Publication]) -> None:
    answer = client.get("/failed")
    assert answer.status_code == 200
    listed = FailedList.model_validate_json(answer.data)
    assert [item.id for item in listed.items] == [_id(message) for message in dead_lettered]
    assert (listed.scanned, listed.truncated) == (3, False)
    # These messages name no client.
    assert set(answer.get_json()["items"][0]) == FailedItem.model_fields.keys() - {"client"}
    assert [item.request_id for item in listed.items] == ["r1", "r2", None]
    for query, expected in (
        ("channel=email", ["r2"]),
        ("reason=recipient_invalid&channel=push", []),
        ("request_id=r1", ["r1"]),
        ("older_than=1h", []),
        ("limit=1", ["r1"]),
    ):
        shown = FailedList.model_validate_json(client.get(f"/failed?{query}").data)
        assert [item.request_id for item in shown.items] == expected, query
        assert shown.truncated == (query == "limit=1")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("channel=fax", "channel"),
        ("channel=", "channel"),
        ("reason=bored", "reason"),
        ("older_than=yesterday", "older_than"),
        ("older_than=15", "older_than"),
        ("nonsense=1", "nonsense"),
        ("all=true", "all"),
        ("reason=expired&reason=no_recipient", "reason"),
    ],
)
def test_a_bad_query_is_422_and_names_the_field(client: FlaskClient, query: str, field: str) -> None:
    assert [error.field for error in _problem(client.get(f"/failed?{query}"), 422).errors] == [field]


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({}, {"all"}),
        ({"dry_run": True}, {"all"}),
        ({"limit": 5}, {"all"}),
        ({"all": False}, {"all"}),
        ({"all": "yes"}, {"all"}),
        ({"all": 1}, {"all"}),
        ({"ids": []}, {"ids"}),
        ({"ids": "abc"}, {"ids"}),
        ({"ids": [1]}, {"ids.0"}),
        ({"all": True, "limit": 0}, {"limit"}),
        ({"all": True, "limit": "5"}, {"limit"}),
        ({"all": True, "dry_run": "no"}, {"dry_run"}),
        ({"reason": "bored", "channel": "fax", "older_than": "1y"}, {"reason", "channel", "older_than"}),
        ({"all": True, "request": "r1"}, {"request"}),
        ([], {""}),
        ("all", {""}),
    ],
)
def test_an_empty_or_invalid_selection_is_422_and_changes_nothing(
    client: FlaskClient, dead_lettered: list[Publication], document: Any, fields: set[str]
) -> None:
    for action in ("replay", "discard"):
        problem = _problem(client.post(f"/failed/{action}", json=document), 422)
        assert {error.field for error in problem.errors} == fields
    assert FailedList.model_validate_json(client.get("/failed").data).scanned == 3


def test_a_discard_takes_no_ignore_expiry(client: FlaskClient) -> None:
    problem = _problem(client.post("/failed/discard", json={"all": True, "ignore_expiry": True}), 422)
    assert problem.errors[0].field == "ignore_expiry"


def test_a_body_that_is_not_json_is_refused(client: FlaskClient) -> None:
    _problem(client.post("/failed/discard", data="all=true", content_type="application/x-www-form-urlencoded"), 415)
    _problem(client.post("/failed/discard", data="{", content_type="application/json"), 400)


def test_one_message_is_shown_masked_unless_revealed(client: FlaskClient, dead_lettered: list[Publication]) -> None:
    path = f"/failed/{_id(dead_lettered[0])}"
    shown = FailedMessage.model_validate_json(client.get(path).data)
    assert shown.envelope is not None
    assert shown.envelope["recipient"] == {"push_tokens": ["***34"], "email": "a***@b.c"}
    revealed = client.get(f"{path}?reveal=true").get_json()
    assert revealed["envelope"]["recipient"] == {"push_tokens": ["device-token-1234"], "email": "a@b.c"}
    assert client.get(f"{path}?reveal=false").get_json() == shown.model_dump()
    assert client.get(f"/failed/{_id(dead_lettered[2])}").get_json()["envelope"] is None
    assert _problem(client.get(f"{path}?reveal=1"), 422).errors[0].field == "reveal"
    assert "unknown" in _problem(client.get("/failed/unknown"), 404).detail


@pytest.mark.parametrize("levels", [33, 260, 900])
def test_a_body_that_is_nested_deep_is_shown_as_text(client: FlaskClient, vhost_url: str, levels: int) -> None:
    message = failed("deep", body=b'{"request_id":"deep","variables":' + b"[" * levels + b"]" * levels + b"}")
    dead_letter_now(vhost_url, [message])
    for query in ("", "?reveal=true"):
        answer = client.get(f"/failed/{_id(message)}{query}")
        assert answer.status_code == 200, answer.data
        shown = FailedMessage.model_validate_json(answer.data)
        assert (shown.request_id, shown.envelope) == ("deep", None)
        assert shown.unreadable is not None
        assert shown.unreadable.text == message.body.decode()
    assert client.get("/failed").status_code == 200


def test_a_replay_says_what_it_did_and_what_it_left(
    client: FlaskClient, dead_lettered: list[Publication], vhost_url: str
) -> None:
    dry = client.post("/failed/replay", json={"all": True, "dry_run": True}).get_json()
    assert (dry["matched"], dry["done"], dry["dry_run"]) == (3, 0, True)
    done = FailedOutcome.model_validate_json(client.post("/failed/replay", json={"all": True}).data)
    assert (done.matched, done.done, done.dry_run) == (3, 2, False)
    assert [(each.id, each.reason) for each in done.skipped] == [(_id(dead_lettered[2]), "undecodable")]
    assert counts(vhost_url, "failed.queue", "push.queue", "email.high.queue") == [1, 1, 1]


def test_a_discard_deletes_what_was_named(
    client: FlaskClient, dead_lettered: list[Publication], vhost_url: str
) -> None:
    done = client.post(
        "/failed/discard", json={"ids": [_id(dead_lettered[0]), _id(dead_lettered[2]), "unknown"]}
    ).get_json()
    assert (done["matched"], done["done"], done["skipped"], done["missing"]) == (2, 2, [], ["unknown"])
    assert counts(vhost_url, "failed.queue", "push.queue") == [1, 0]


def test_every_route_asks_for_the_scope(client: FlaskClient) -> None:
    for method, path in (
        ("GET", "/failed"),
        ("GET", "/failed/x"),
        ("POST", "/failed/replay"),
        ("POST", "/failed/discard"),
    ):
        assert _problem(client.open(path, method=method, headers={"Authorization": f"Bearer {_SENDER}"}), 403).detail
        _problem(client.open(path, method=method, headers={"Authorization": "Bearer nobody"}), 401)


def test_a_second_operator_is_told_to_come_back(
    client: FlaskClient, dead_lettered: list[Publication], vhost_url: str
) -> None:
    async def hold_and_ask() -> list[TestResponse]:
        async with failed_operation(vhost_url):
            return [
                await asyncio.to_thread(client.get, "/failed"),
                await asyncio.to_thread(client.post, "/failed/discard", json={"all": True}),
            ]

    for answer in asyncio.run(hold_and_ask()):
        _problem(answer, 409)
        assert int(answer.headers["Retry-After"]) >= 1
    assert client.get("/failed").get_json()["scanned"] == 3


def test_an_unavailable_broker_is_503(tmp_path: Path) -> None:
    nowhere = settings_for("amqp://guest:guest@127.0.0.1:9/").broker.given_url
    with gateway(tmp_path, rabbitmq_url=nowhere) as made:
        answer = made.client.get("/failed")
    _problem(answer, 503)
    assert int(answer.headers["Retry-After"]) >= 1


def test_an_operators_actions_are_logged(
    client: FlaskClient, dead_lettered: list[Publication], capsys: pytest.CaptureFixture[str]
) -> None:
    client.post("/failed/replay", json={"channel": "push", "dry_run": True})
    client.get(f"/failed/{_id(dead_lettered[0])}?reveal=true")
    client.post("/failed/discard", json={"reason": "recipient_invalid", "limit": 5})
    written = capsys.readouterr().out
    for event in ("failed_replayed", "failed_revealed", "failed_discarded"):
        (line,) = [line for line in written.splitlines() if event in line]
        assert "ops" in line
    assert "device-token" not in written
