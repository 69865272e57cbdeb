"""Tests that a background task that dies ends its process with a traceback: without it nothing could be accepted."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

NOWHERE = {"PATH": "/usr/bin:/bin", "RABBITMQ_URL": "amqp://127.0.0.1:1", "REDIS_URL": "redis://127.0.0.1:1"}

#: Breaks one task and connects to a broker that does not exist; the main thread continues as a server's would.
BROKEN = """
import sys, time
from gateway.accept.acceptor import Acceptor
from gateway.wiring import connect
from shared.broker.connection import Connection
from shared.broker.queue_depth import Sampler
from shared.errors import TopologyMismatch
from shared.logs import configure_logs
from shared.settings.load import load_settings

async def broken(*_):
    raise {error}

{task} = broken
configure_logs("gateway")
connect(load_settings(env_file=None))
time.sleep(60)
"""


def run(task: str, error: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BROKEN.format(task=task, error=error)]
    return subprocess.run(command, cwd=ROOT, env=NOWHERE, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("task", ["Acceptor.run", "Sampler.run"])
def test_a_task_that_dies_ends_the_process_with_its_traceback(task: str) -> None:
    ended = run(task, "RuntimeError('injected')")
    assert ended.returncode == 1, ended.stderr
    assert "background_task_failed" in ended.stdout
    assert "Traceback" in ended.stdout
    assert "RuntimeError: injected" in ended.stdout


def test_a_queue_with_other_arguments_ends_the_process_and_says_which() -> None:
    ended = run("Connection.wait_failed", "TopologyMismatch('inequivalent arg')")
    assert ended.returncode == 1, ended.stderr
    assert "gateway_stopped" in ended.stdout
    assert "inequivalent arg" in ended.stdout
    assert "Traceback" not in ended.stdout
