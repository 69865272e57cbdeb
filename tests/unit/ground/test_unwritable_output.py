"""Tests whole processes whose standard output is closed or full: they start, answer, count, and stop as always."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.run.servers import run_ports
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
NOWHERE = {"RABBITMQ_URL": "amqp://127.0.0.1:1", "REDIS_URL": "redis://127.0.0.1:1", "LOG_FORMAT": "json"}
SMS = {"notification_type": "sms", "recipient": {"phone": "+447700900123"}, "content": {"body": "b"}}

pytestmark = pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "<&- >&- 2>&-"])


@contextmanager
def process(module: str, setting: str, redirection: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Runs one process of the product without its servers. Yields it and its port once it listens."""
    (port,) = run_ports(1)
    started = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$0" -m {module} {redirection}', sys.executable],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **NOWHERE, setting: str(port)},
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: answer(port, "GET", "/metrics"), deadline_s=30)
        yield started, port
    finally:
        started.kill()
        started.wait()


def answer(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str] | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError:
        return None
    finally:
        connection.close()


def lost(port: int) -> float:
    _, metrics = answer(port, "GET", "/metrics") or (0, "")
    found = re.search(r"^notify_log_lines_lost_total ([0-9.]+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_worker_starts_answers_and_stops(redirection: str) -> None:
    with process("services.push", "PUSH_PORT", redirection) as (worker, port):
        eventually(lambda: lost(port) >= 3, deadline_s=20)
        status, _ = answer(port, "GET", "/health") or (0, "")
        assert status == 503
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0


def test_the_gateway_answers_503_and_not_an_empty_500(redirection: str) -> None:
    with process("gateway", "GATEWAY_PORT", redirection) as (gateway, port):
        refused = answer(port, "POST", "/notifications", json.dumps({"request_id": "r1", **SMS}))
        assert refused is not None
        assert (refused[0], json.loads(refused[1])["status"]) == (503, 503)
        eventually(lambda: lost(port) >= 1, deadline_s=20)
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(40) == 0
