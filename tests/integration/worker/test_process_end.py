"""Tests a worker process in which a task dies: it ends by itself and says why, and the supervisor starts another."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ops.place import ROOT
from tests.support.run.servers import run_ports

#: The program of the process: the real push channel, after one replacement.
PROGRAM = """
from services.push import fcm
from shared.broker.publisher import Publisher
from shared.errors import TopologyMismatch
from shared.health.registry import WorkerState
from shared.worker.modes import Flow
from shared.worker.run import run_channel

async def stumble(*_):
    raise {error}

{place} = stumble
run_channel("push", {{"fcm": fcm.build}})
"""


def ended(place: str, error: str, rabbitmq_url: str, redis_url: str) -> subprocess.CompletedProcess[str]:
    """Runs the process, which has to end within 40 seconds, and returns its result."""
    environment = {
        "PATH": os.environ["PATH"],
        "RABBITMQ_URL": rabbitmq_url,
        "REDIS_URL": redis_url,
        "PUSH_PORT": str(run_ports(1)[0]),
        "SHUTDOWN_S": "5",
    }
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(place=place, error=error)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


@pytest.mark.parametrize("place", ["WorkerState.beat", "Flow.wide"])
def test_an_unforeseen_error_in_a_task_ends_the_process_with_its_traceback(
    place: str, vhost_url: str, redis_url: str
) -> None:
    end = ended(place, 'KeyError("unforeseen")', vhost_url, redis_url)
    assert end.returncode == 1, end.stdout + end.stderr
    assert "Traceback" in end.stderr
    assert "in stumble" in end.stderr
    assert "KeyError: 'unforeseen'" in end.stderr
    assert '"event":"task_died"' in end.stdout


def test_other_arguments_met_by_the_publishing_connection_alone_end_the_process_with_their_text(
    vhost_url: str, redis_url: str
) -> None:
    end = ended("Publisher._declare", 'TopologyMismatch("another limit")', vhost_url, redis_url)
    assert end.returncode == 1, end.stdout + end.stderr
    assert "they are unchanged:\nanother limit" in end.stderr
    assert "Traceback" not in end.stderr
