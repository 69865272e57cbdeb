"""Runs ``python -m sandbox`` as its own process: settings, signals, and what it may import."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]


def run(*options: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Yields the process and its URL; ends the process by its id."""
    with run("--port", "0", "--smtp-port", "0") as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()[3].rstrip(",")
        finally:
            process.kill()


def finished(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, complaint = process.communicate(timeout=20)
    return process.returncode, complaint


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(number: signal.Signals) -> None:
    with running() as (process, url), requests.Session() as http:
        assert http.get(f"{url}/health", timeout=5).json() == {"status": "healthy"}
        process.send_signal(number)
        assert finished(process) == (0, "")


def test_a_call_in_the_making_is_answered_before_the_end() -> None:
    with running() as (process, url), requests.Session() as http:
        http.put(f"{url}/sandbox/faults/users", json={"mode": "slow", "delay_ms": 500}, timeout=5)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            connection.sendall(b"GET /users/user-1 HTTP/1.1\r\nHost: sandbox\r\n\r\n")
            eventually(lambda: http.get(f"{url}/sandbox/calls", timeout=5).json()["users"]["calls"])
            process.terminate()
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert finished(process) == (0, "")


def test_a_reset_is_a_reset_under_the_fast_loop_too() -> None:
    with running() as (_, url), requests.Session() as http:
        http.put(f"{url}/sandbox/faults/fcm", json={"mode": "reset_after_accept"}, timeout=5)
        with pytest.raises(requests.ConnectionError, match="Connection reset"):
            http.post(
                f"{url}/v1/projects/demo/messages:send",
                json={"message": {"token": "t1"}},
                headers={"Authorization": "Bearer any"},
                timeout=5,
            )
        assert http.get(f"{url}/sandbox/deliveries", timeout=5).json()["count"] == 1


@pytest.mark.parametrize("setting", ["SANDBOX_PORT", "SANDBOX_SMTP_PORT"])
def test_a_taken_port_is_named_with_its_setting(taken_port: int, setting: str) -> None:
    ports = {"SANDBOX_PORT": "0", "SANDBOX_SMTP_PORT": "0", setting: str(taken_port)}
    with run(**ports) as process:
        code, complaint = finished(process)
    assert code == 1
    assert complaint.startswith(f"sandbox: {setting}: cannot listen on 127.0.0.1:{taken_port}")
    assert "Traceback" not in complaint


def test_all_bad_settings_are_named_at_once() -> None:
    with run(SANDBOX_PORT="http", SANDBOX_SMTP_PORT="70000", SANDBOX_KEEP="0") as process:
        code, complaint = finished(process)
    assert code == 2
    assert all(name in complaint for name in ("SANDBOX_PORT", "SANDBOX_SMTP_PORT", "SANDBOX_KEEP"))
