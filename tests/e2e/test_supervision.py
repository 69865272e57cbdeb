"""Tests supervisord with small programs: how long a stop takes, also at the start, and what its death leaves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.place import ROOT, Place
from ops.system.fleet import Port, Program
from ops.system.supervision import Supervisor
from tests.support.waiting import eventually

NAMES = ("a", "b", "c", "d", "e")
#: Ends like a worker: on SIGTERM, after a moment.
SLEEPER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0)))
while True:
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "place")
    yield place
    Supervisor(place).stop()
    assert not any(record.living() for record in place.processes().values())


def start(place: Place, tmp_path: Path) -> Supervisor:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    supervisor = Supervisor(place)
    fleet = [Program(name, "sleeper", (Port(1, "PORT"),)) for name in NAMES]
    supervisor.start(fleet, {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"})
    return supervisor


@pytest.mark.alone
@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.5, 0.8, 1.1])
def test_a_stop_in_the_first_second_is_quick(place: Place, tmp_path: Path, after_s: float) -> None:
    supervisor = start(place, tmp_path)
    time.sleep(after_s)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10
    assert supervisor.identity() is None
    assert not any(record.living() for record in place.processes().values())


@pytest.mark.alone
def test_the_processes_finish_side_by_side(place: Place, tmp_path: Path) -> None:
    supervisor = start(place, tmp_path)
    eventually(lambda: [state.state for state in supervisor.states().values()] == ["RUNNING"] * 5, deadline_s=20)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 4


@pytest.mark.alone
def test_processes_whose_supervisor_was_killed_end_side_by_side(place: Place, tmp_path: Path) -> None:
    supervisor = start(place, tmp_path)
    eventually(lambda: len(place.processes()) == 5 and supervisor.states(), deadline_s=20)
    identity = supervisor.identity()
    assert identity is not None
    identity.send(signal.SIGKILL)
    assert identity.wait(10)
    time.sleep(0.5)
    assert all(record.living() for record in place.processes().values())
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 4
    assert not place.processes()


def test_an_interrupt_before_the_record_was_written_loses_no_supervisord(place: Place, tmp_path: Path) -> None:
    supervisor = start(place, tmp_path)
    (place.run / "supervisord.pid").unlink()
    assert supervisor.identity() is not None
    supervisor.stop()
    assert supervisor.identity() is None
