"""Tests the sending half of the Python client, against a gateway that answers as the test says."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from notify_client import Accepted, Refused, Sender, Unavailable
from shared.message.envelope import validate_envelope
from tests.support.fakes.gateway_client import gateway
from tests.support.run.servers import run_ports


class Answers(HTTPServer):
    """Answers each request with the next of ``answers``: (status, document, headers); None cuts the connection."""

    answers: list[tuple[int, dict[str, Any], dict[str, str]] | None]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", run_ports(1)[0]), _Handler)
        self.answers = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        self.server.keys.append(self.headers.get("X-API-Key"))
        answer = self.server.answers.pop(0)
        if answer is None:
            return
        status, document, headers = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing."""


README = (Path(__file__).parents[3] / "clients" / "python" / "README.md").read_text()
ACCEPTED: tuple[int, dict[str, Any], dict[str, str]] = (202, {"request_id": "r1", "channels": ["websocket"]}, {})


@pytest.fixture
def answers() -> Iterator[Answers]:
    server = Answers()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_returns_once_the_notification_is_stored(answers: Answers) -> None:
    answers.answers = [ACCEPTED, (202, ACCEPTED[1], {"Idempotent-Replayed": "true"})]
    sender = Sender(answers.url, api_key="key")
    accepted = sender.send(user_id="u1", title="Hello", body="text", request_id="r1", link="https://example.org/1")
    assert accepted == Accepted("r1", ("websocket",), replayed=False)
    assert sender.send(user_id="u1", title="Hello", request_id="r1").replayed
    assert answers.keys == ["key", "key"]
    assert answers.bodies[0] == {
        "request_id": "r1",
        "notification_type": "websocket",
        "user_id": "u1",
        "content": {"title": "Hello", "body": "text", "link": "https://example.org/1"},
        "type": "info",
        "priority": "medium",
    }


def test_it_repeats_the_same_request_until_it_is_stored(answers: Answers) -> None:
    slept: list[float] = []
    busy = (503, {"detail": "the broker does not answer"}, {"Retry-After": "7"})
    answers.answers = [busy, None, (409, {}, {}), ACCEPTED]
    Sender(answers.url, sleep=slept.append).send(user_id="u1", title="Hello")
    assert len({body["request_id"] for body in answers.bodies}) == 1
    assert len(answers.bodies) == 4
    assert slept[0] == 7
    assert all(0 < wait <= 2 for wait in slept[1:])


def test_it_gives_up_after_some_attempts(answers: Answers) -> None:
    answers.answers = [(503, {"detail": "the lane is full"}, {})] * 2
    with pytest.raises(Unavailable, match=r"the lane is full \(2 attempts\)"):
        Sender(answers.url, attempts=2, sleep=lambda _: None).send(user_id="u1", title="Hello")


def test_a_gateway_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        Sender(f"http://127.0.0.1:{run_ports(1)[0]}", attempts=1).send(user_id="u1", title="Hello")


def test_a_refusal_names_the_fields_and_is_not_repeated(answers: Answers) -> None:
    wrong = {"detail": "the notification is not valid", "errors": [{"field": "content.title", "detail": "is empty"}]}
    answers.answers = [(422, wrong, {})]
    with pytest.raises(Refused, match=r"422: the notification is not valid; content.title: is empty") as refused:
        Sender(answers.url).send(user_id="u1", title="")
    assert refused.value.fields == {"content.title": "is empty"}


def test_the_gateway_understands_what_it_sends(answers: Answers, tmp_path: Path) -> None:
    answers.answers = [ACCEPTED]
    Sender(answers.url).send(
        user_id="u1",
        title="Hello",
        body="text",
        link="https://example.org/1",
        metadata={"order": 1},
        priority="high",
        expires_at="2030-01-01T00:00:00Z",
    )
    assert validate_envelope(answers.bodies[0], extra="forbid").user_id == "u1"
    with gateway(tmp_path) as made:
        assert made.client.post("/notifications", json=answers.bodies[0]).status_code == 202


def test_an_answer_of_somebody_else_is_no_success(answers: Answers) -> None:
    answers.answers = [(200, {"hello": "world"}, {})] * 2
    with pytest.raises(Unavailable, match="no gateway"):
        Sender(answers.url, attempts=2, sleep=lambda _: None).send(user_id="u1", title="Hello")


@pytest.mark.parametrize("address", ["127.0.0.1:5050", "ftp://127.0.0.1", ""])
def test_an_address_that_is_none_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        Sender(address)


def test_the_example_of_the_readme_works_as_it_stands(answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    answers.answers = [ACCEPTED]
    found = re.search(r"## Send\n\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    assert found[1].count("http://127.0.0.1:5050") == 1
    exec(found[1].replace("http://127.0.0.1:5050", answers.url), {})
    assert capsys.readouterr().out == "r1 False\n"
    assert validate_envelope(answers.bodies[0], extra="forbid").user_id == "u1"
