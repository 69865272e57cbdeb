"""Tests that every refusal is counted, and that the log gets some of them, without any value of the caller."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.health.counts import AcceptedCounts
from gateway.health.refused import LINES_PER_S, Refused
from tests.support.fakes.gateway_client import gateway

PUSH = {"request_id": "r-1", "notification_type": "push", "user_id": "u", "content": {"title": "t", "body": "b"}}


def test_the_log_gets_a_sample_and_says_what_it_leaves_out() -> None:
    now = [10.0]
    counts = AcceptedCounts()
    refused = Refused(counts, clock=lambda: now[0])
    with capture_logs() as lines:
        for _ in range(100):
            refused.refused(422)
        refused.refused(401)
        now[0] += 1
        refused.refused(422)
    assert [line["status"] for line in lines] == [422] * LINES_PER_S + [401, 422]
    assert lines[-1]["left_out"] == 100 - LINES_PER_S
    assert [line["log_level"] for line in lines[-2:]] == ["warning", "info"]
    assert 'notify_refused_total{status="422"} 101.0' in counts.render().decode()


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("/notifications", {"json": PUSH | {"recipient": {"email": "ada@secret.example"}, "priority": 11}}, 422),
        ("/notifications", {"data": b'{"ada@secret.example"', "content_type": "application/json"}, 400),
        ("/notifications", {"data": b"{}", "content_type": "secret.example/x"}, 415),
        (
            "/notifications",
            {"json": {}, "headers": {"Content-Encoding": "secret.example"}},
            415,
        ),
        ("/secret.example", {}, 404),
        ("/health", {}, 405),
    ],
)
def test_a_refusal_is_counted_and_logged_without_values(
    tmp_path: Path, path: str, sent: dict[str, Any], status: int
) -> None:
    with gateway(tmp_path) as made, capture_logs() as lines:
        answer = made.client.post(path, **sent)
        assert answer.status_code == status
        assert f'notify_refused_total{{status="{status}"}} 1.0' in made.client.get("/metrics").text
    (line,) = [line for line in lines if line["event"] == "refused"]
    assert (line["status"], line["address"]) == (status, "127.0.0.1")
    assert "secret.example" not in str(line) + answer.text


def test_who_was_refused_is_logged_and_the_items_of_a_batch_are_counted(tmp_path: Path) -> None:
    with gateway(tmp_path) as made, capture_logs() as lines:
        made.client.post("/notifications", json=PUSH | {"priority": 11})
        made.client.post("/notifications/batch", json=[PUSH, 7, 8, PUSH])
        metrics = made.client.get("/metrics").text
    (line,) = [line for line in lines if line["event"] == "refused"]
    assert (line["request_id"], line["client"], line["fields"]) == ("r-1", "anonymous", ["priority"])
    assert 'notify_refused_total{status="422"} 3.0' in metrics
    assert 'notify_refused_total{status="409"} 1.0' in metrics


def test_a_body_with_thousands_of_faults_names_twenty(tmp_path: Path) -> None:
    with gateway(tmp_path) as made:
        bad = PUSH | {f"f{n}": 1 for n in range(5_000)}
        answer = made.client.post("/notifications", json=bad)
        assert len(answer.get_json()["errors"]) == 20
        assert "of 5000 faults" in answer.get_json()["detail"]
        (result,) = made.client.post("/notifications/batch", json=[bad]).get_json()["results"]
        assert len(result["error"]["errors"]) == 20


@pytest.mark.parametrize(
    ("name", "logged"),
    [
        ("surprise", "surprise"),
        ("content.data.key_2.0", "content.data.key_2.0"),
        ("ada@secret.example", "(not shown)"),
        ("recipient.+44 7700 900123", "(not shown)"),
        ("447700900123", "(not shown)"),
        ("x" * 60_000, "(not shown)"),
        ("a.", "(not shown)"),
        ("a\nb", "(not shown)"),
    ],
)
def test_a_name_that_only_the_caller_knows_is_not_logged(tmp_path: Path, name: str, logged: str) -> None:
    with gateway(tmp_path) as made, capture_logs() as lines:
        answer = made.client.patch("/users/u1/inbox/1", json={"read": True, name: 1})
    assert answer.status_code == 422
    assert [line["fields"] for line in lines] == [[logged]]


def test_what_is_unavailable_is_logged_with_its_reason_and_its_caller(tmp_path: Path) -> None:
    with gateway(tmp_path) as made, capture_logs() as lines:
        assert made.client.get("/users/ada%40secret.example/inbox").status_code == 503
        assert "notify_store_unavailable_total 1.0" in made.client.get("/metrics").text
    (line,) = lines
    assert (line["status"], line["endpoint"], line["client"]) == (503, "inbox.listInbox", "anonymous")
    assert "run ./notify store upgrade" in line["why"]
    assert "secret.example" not in str(line)


def test_a_bug_is_logged_with_its_route_and_not_with_the_user_in_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gateway(tmp_path) as made, capture_logs() as lines:
        monkeypatch.setattr(made.store, "check_schema", lambda: 1 / 0)
        answer = made.client.get("/users/ada%40secret.example/inbox/count")
    assert (answer.status_code, answer.get_json()["detail"]) == (500, "internal error; see the server log")
    bug, refused = lines
    assert (bug["event"], bug["endpoint"], bug["client"]) == ("request_failed", "inbox.countInbox", "anonymous")
    assert isinstance(bug["exc_info"][1], ZeroDivisionError)
    assert refused["status"] == 500
    assert "secret.example" not in str(lines)
