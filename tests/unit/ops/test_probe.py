"""Tests the health check of the containers."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ops import probe
from ops.servers.ports import free_ports


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/health": 200, "/health/ready": 503, "/moved": 302, "/odd": 500}[self.path]
        self.send_response(status)
        self.send_header("Location", "/health")
        self.end_headers()
        self.wfile.write(b"\x1b]52;c;Zg==\x07\xc2\x9b2J" if self.path == "/odd" else b'{"broker": "down"}')

    def log_message(self, *_: object) -> None:
        """Writes nothing."""


@pytest.fixture
def url() -> Iterator[Callable[[str], str]]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield lambda path: f"http://127.0.0.1:{server.server_port}{path}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_ok_is_exit_code_0_and_silent(url: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main([url("/health")]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("path", "said"),
    [("/health/ready", '503 {"broker": "down"}'), ("/moved", "302"), ("/odd", r"500 \x1b]52;c;Zg==\x07\x9b2J")],
)
def test_anything_else_is_exit_code_1_and_says_why(
    path: str, said: str, url: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe.main([url(path)]) == 1
    assert said in capsys.readouterr().err


def test_no_proxy_is_asked(url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks this because an engine may put its own proxy into every container's environment."""
    [closed] = free_ports(1)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed}")
    assert probe.main([url("/health")]) == 0


def test_a_refused_connection_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    [closed] = free_ports(1)
    assert probe.main([f"http://127.0.0.1:{closed}/health"]) == 1
    assert "ConnectionRefusedError" in capsys.readouterr().err


def test_silence_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.05)
    silent = HTTPServer(("127.0.0.1", 0), Answers)  # listens, but never accepts a connection
    assert probe.main([f"http://127.0.0.1:{silent.server_port}/health"]) == 1
    silent.server_close()
    assert "TimeoutError" in capsys.readouterr().err


def test_without_a_url_it_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main([]) == 2
    assert "http://HOST:PORT" in capsys.readouterr().err
