"""Tests the HTTP interface: statuses, headers, bodies, and one shape for every error."""

import hashlib
import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from werkzeug.test import TestResponse

from gateway.api.health import ReadyAnswer
from gateway.api.notifications import AcceptedAnswer, BatchAnswer
from gateway.health.report import HealthAnswer
from gateway.http.problem import ProblemDocument
from shared.errors import PublishUnknown
from shared.settings.groups.gateway import ApiKey
from tests.support.envelopes import PUSH
from tests.support.fakes.gateway_client import Gateway, gateway


def problem(answer: TestResponse, status: int) -> ProblemDocument:
    assert answer.status_code == status, answer.data
    assert answer.content_type == "application/problem+json"
    document = ProblemDocument.model_validate_json(answer.data)
    assert document.status == status
    if status == 503:
        assert int(answer.headers["Retry-After"]) >= 1
    return document


def test_accepted_is_202_and_a_replay_says_so(made: Gateway) -> None:
    first = made.client.post("/notifications", json=PUSH)
    assert first.status_code == 202
    assert AcceptedAnswer.model_validate_json(first.data).channels == ["push"]
    assert "Idempotent-Replayed" not in first.headers
    again = made.client.post("/notifications", json=PUSH)
    assert (again.status_code, again.data) == (202, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = made.client.post("/notifications", json=PUSH | {"priority": "low"})
    assert problem(other, 422).errors[0].field == "request_id"


def test_a_bad_field_is_422_and_nothing_is_published(made: Gateway) -> None:
    answer = made.client.post("/notifications", json=PUSH | {"priority": 11})
    assert problem(answer, 422).errors[0].field == "priority"
    assert not made.broker.published


def test_bad_json_is_400_and_names_the_key(made: Gateway) -> None:
    answer = made.client.post("/notifications", data=b'{"metadata": {"a": NaN}}', content_type="application/json")
    assert problem(answer, 400).errors[0].field == "metadata.a"
    nothing = made.client.post("/notifications", data=b"nonsense", content_type="application/json")
    assert problem(nothing, 400).errors == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_another_content_type_is_415(made: Gateway, content_type: str) -> None:
    problem(made.client.post("/notifications", data=orjson.dumps(PUSH), content_type=content_type), 415)


def test_a_compressed_body_is_415(made: Gateway) -> None:
    problem(made.client.post("/notifications", json=PUSH, headers={"Content-Encoding": "gzip"}), 415)


def test_json_with_a_charset_is_json(made: Gateway) -> None:
    answer = made.client.post("/notifications", data=orjson.dumps(PUSH), content_type="application/json; charset=utf-8")
    assert answer.status_code == 202


@pytest.mark.parametrize(("path", "most"), [("/notifications", 64 * 1024), ("/notifications/batch", 4 * 1024 * 1024)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(made: Gateway, path: str, most: int, chunked: bool) -> None:
    def post(size: int) -> TestResponse:
        body = b" " * size
        if chunked:
            environ = {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
            return made.client.post(path, environ_overrides=environ, content_type="application/json")
        return made.client.post(path, data=body, content_type="application/json")

    problem(post(most + 1), 413)
    problem(post(most), 400)


def test_a_body_shorter_than_announced_is_400(made: Gateway) -> None:
    environ = {"wsgi.input": io.BytesIO(orjson.dumps(PUSH)), "CONTENT_LENGTH": "10000"}
    answer = made.client.post("/notifications", environ_overrides=environ, content_type="application/json")
    assert "shorter than its Content-Length" in problem(answer, 400).detail
    assert not made.broker.published


def test_unknown_paths_and_methods_are_problem_documents(made: Gateway) -> None:
    problem(made.client.get("/nowhere"), 404)
    answer = made.client.get("/notifications")
    problem(answer, 405)
    assert "POST" in answer.headers["Allow"]


def test_an_internal_error_is_500_without_its_details(made: Gateway) -> None:
    made.records.explodes = True
    answer = made.client.post("/notifications", json=PUSH)
    assert "unforeseen" not in problem(answer, 500).detail


def test_a_route_that_raises_is_500_in_the_same_shape(made: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made.depths, "ready", lambda lane: 1 / 0)
    problem(made.client.post("/notifications", json=PUSH), 500)


def test_a_broker_that_does_not_confirm_is_503(made: Gateway) -> None:
    made.broker.fate = lambda _: PublishUnknown("silence")
    problem(made.client.post("/notifications", json=PUSH), 503)


def test_a_batch_answers_each_item_in_order(made: Gateway) -> None:
    items: list[Any] = [PUSH, PUSH | {"request_id": "r-2", "priority": 11}, 7, {"request_id": 5}, PUSH]
    items.append(PUSH | {"request_id": "r-3", "metadata": {"a": "x" * 65536}})
    answer = made.client.post("/notifications/batch", json=items)
    assert answer.status_code == 200
    results = BatchAnswer.model_validate_json(answer.data).results
    assert [result.index for result in results] == [0, 1, 2, 3, 4, 5]
    assert [result.status for result in results] == [202, 422, 422, 422, 409, 413]
    assert [result.request_id for result in results] == ["r-1", "r-2", None, None, "r-1", "r-3"]
    assert orjson.loads(answer.data)["results"][0] == {"index": 0, "request_id": "r-1", "status": 202}
    assert results[1].error is not None
    assert results[1].error.errors[0].field == "priority"


@pytest.mark.parametrize("document", [{}, [], "x", [PUSH] * 1001])
def test_a_document_that_is_not_a_batch_is_422(made: Gateway, document: Any) -> None:
    problem(made.client.post("/notifications/batch", json=document), 422)
    assert not made.broker.published


def test_while_the_broker_is_silent_the_items_and_the_batch_are_503(made: Gateway) -> None:
    made.broker.fate = lambda _: PublishUnknown("silence")
    answer = made.client.post("/notifications/batch", json=[PUSH, 7])
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert [result.status for result in BatchAnswer.model_validate_json(answer.data).results] == [503, 422]


def test_an_item_of_a_batch_may_be_as_deep_as_a_single_request(made: Gateway) -> None:
    metadata: dict[str, Any] = {}
    for _ in range(30):
        metadata = {"a": metadata}
    assert made.client.post("/notifications", json=PUSH | {"metadata": metadata}).status_code == 202
    batch = made.client.post("/notifications/batch", json=[PUSH | {"request_id": "r-2", "metadata": metadata}])
    assert batch.status_code == 200
    problem(made.client.post("/notifications", json=PUSH | {"metadata": {"a": metadata}}), 400)


def test_with_keys_configured_only_they_are_let_in(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"shop-key").hexdigest()
    operator = hashlib.sha256(b"operator-key").hexdigest()
    keys = (
        ApiKey(client="shop", scopes=frozenset({"send"}), sha256=digest),
        ApiKey(client="ops", scopes=frozenset({"operate"}), sha256=operator),
    )
    with gateway(tmp_path, api_keys=keys) as made:
        for path in ("/notifications", "/notifications/batch"):
            nobody = made.client.post(path, json=PUSH)
            problem(nobody, 401)
            assert nobody.headers["WWW-Authenticate"].startswith("Bearer")
            problem(made.client.post(path, json=PUSH, headers={"X-API-Key": "operator-key"}), 403)
        answer = made.client.post("/notifications", json=PUSH, headers={"Authorization": "Bearer shop-key"})
        assert answer.status_code == 202
        assert ("shop", "r-1") in made.records.digests


def test_every_route_asks_for_a_key_unless_it_is_known_to_be_open(tmp_path: Path) -> None:
    open_to_all = {"/", "/apidocs/", "/apidocs/<path:name>", "/openapi.json", "/metrics"}
    open_to_all |= {"/health", "/health/live", "/health/ready"}
    # They hold no data: the module that pages load, and the demo page of a gateway in development.
    open_to_all |= {"/notify-inbox.js", "/demo", "/demo/", "/demo/<path:name>", "/demo/settings.json"}
    # Whoever has a refresh token needs no key.
    open_to_all |= {"/auth/refresh"}
    keys = (ApiKey(client="shop", scopes=frozenset({"send"}), sha256="0" * 64),)
    with gateway(tmp_path, api_keys=keys) as made:
        for rule in made.app.url_map.iter_rules():
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                if rule.rule not in open_to_all:
                    path = rule.rule.replace("<nid:nid>", "1")
                    with made.client.open(path, method=method) as answer:
                        assert answer.status_code == 401, rule


def test_health_is_503_only_if_the_broker_is_down(made: Gateway) -> None:
    answer = made.client.get("/health")
    assert (answer.status_code, HealthAnswer.model_validate_json(answer.data).status) == (200, "healthy")
    made.broker_state = "blocked"
    assert made.client.get("/health").status_code == 200
    made.broker_state = "down"
    answer = made.client.get("/health")
    assert (answer.status_code, HealthAnswer.model_validate_json(answer.data).status) == (503, "unhealthy")
    assert "Retry-After" in answer.headers


def test_ready_means_that_it_can_publish_and_live_that_it_lives(made: Gateway) -> None:
    assert made.client.get("/health/ready").status_code == 200
    for state in ("down", "blocked"):
        made.broker_state = state
        answer = made.client.get("/health/ready")
        assert (answer.status_code, ReadyAnswer.model_validate_json(answer.data).broker) == (503, state)
        assert made.client.get("/health/live").status_code == 200


def test_metrics_count_what_was_accepted(made: Gateway) -> None:
    made.client.post("/notifications", json=PUSH)
    made.client.post("/notifications", json=PUSH)
    answer = made.client.get("/metrics")
    assert answer.content_type.startswith("text/plain")
    assert 'notify_accepted_total{channel="push",lane="medium"} 1.0' in answer.text


def test_a_page_of_a_named_origin_may_use_an_inbox_with_a_token_and_never_with_a_cookie(tmp_path: Path) -> None:
    keys = (ApiKey(client="shop", scopes=frozenset({"operate"}), sha256="0" * 64),)
    path = "/users/a%2Fb/inbox/1"
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-type"}
    with gateway(
        tmp_path, api_keys=keys, socket_token_keys=f"k1:{'s' * 32}", cors_origins=("https://app.example.com",)
    ) as made:
        page, other = {"Origin": "https://app.example.com"}, {"Origin": "https://app.example.com.evil.example"}
        preflight = made.client.options(path, headers=asked | page)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == page["Origin"]
        assert {"PATCH", "DELETE"} <= set(preflight.headers["Access-Control-Allow-Methods"].split(", "))
        assert {"Authorization", "Content-Type"} <= set(preflight.headers["Access-Control-Allow-Headers"].split(", "))
        refused = made.client.options(path, headers=asked | other)
        assert not [name for name, _ in refused.headers if name.startswith("Access-Control-")]

        token = made.tokens.sign("a/b").text
        made.client.set_cookie("token", token)
        with_cookie = made.client.patch(path, json={"read": True}, headers=page | {"Cookie": f"token={token}"})
        assert with_cookie.status_code == 401
        with_token = made.client.patch(path, json={"read": True}, headers=page | {"Authorization": f"Bearer {token}"})
        # There is no database; the token was accepted, and the page may read the answer.
        assert with_token.status_code == 503
        for answer in (preflight, with_cookie, with_token):
            assert answer.headers["Access-Control-Allow-Origin"] == page["Origin"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert "Set-Cookie" not in answer.headers
            assert answer.headers["Cache-Control"] == "no-store"


def test_cross_origin_calls_are_off_unless_origins_are_named(made: Gateway, tmp_path: Path) -> None:
    origin = {"Origin": "https://app.example.com"}
    assert "Access-Control-Allow-Origin" not in made.client.get("/health", headers=origin).headers
    with gateway(tmp_path, cors_origins=("https://app.example.com",)) as named:
        preflight = named.client.options("/notifications", headers=origin)
        assert preflight.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        assert "X-API-Key" in preflight.headers["Access-Control-Allow-Headers"]
        refused = named.client.post("/notifications", json={}, headers=origin)
        assert refused.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        assert "Access-Control-Allow-Credentials" not in refused.headers
        other = named.client.get("/health", headers={"Origin": "https://evil.example.com"})
        assert "Access-Control-Allow-Origin" not in other.headers
        assert "Origin" in other.headers["Vary"]
