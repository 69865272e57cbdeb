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
