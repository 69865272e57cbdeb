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
from ops.system.supervision import PROCESS_STOP_S, Supervisor
from tests.support.waiting import eventually

NAMES = ("a", "b", "c", "d", "e")
#: Ends like a worker: on SIGTERM, after a moment.
SLEEPER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0)))
while True:
    time.sleep(60)
"""
#: Touches its diary while it works. On SIGTERM it ends as soon as all five have got theirs, and writes down that they
#: have; those that are stopped one after the other wait for each other in vain.
COMPANION = """
import os, pathlib, signal, sys, time
diaries = pathlib.Path(os.environ["DIARIES"])
def finish(*_):
    (diaries / f"{os.getpid()}.finishing").touch()
    give_up_at = time.monotonic() + 10
    while len(list(diaries.glob("*.finishing"))) < 5 and time.monotonic() < give_up_at:
        time.sleep(0.02)
    if time.monotonic() < give_up_at:
        (diaries / f"{os.getpid()}.together").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, finish)
while True:
    (diaries / str(os.getpid())).touch()
    time.sleep(0.02)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "place")
    yield place
    Supervisor(place).stop()
    assert not any(record.living() for record in place.processes().values())


@pytest.fixture
def diaries(tmp_path: Path) -> Path:
    """Makes the directory in which every program writes a file that is called like its pid, and more about its end."""
    made = tmp_path / "diaries"
    made.mkdir()
    return made


def start(place: Place, diaries: Path, text: str = SLEEPER) -> Supervisor:
    (diaries.parent / "program.py").write_text(text)
    supervisor = Supervisor(place)
    fleet = [Program(name, "program", (Port(1, "PORT"),)) for name in NAMES]
    path = f"{diaries.parent}:{ROOT}"
    supervisor.start(fleet, {**os.environ, "PYTHONPATH": path, "DIARIES": str(diaries)})
    return supervisor


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.5, 0.8, 1.1])
def test_a_stop_in_the_first_second_is_quick(place: Place, diaries: Path, after_s: float) -> None:
    supervisor = start(place, diaries)
    # The moment of the stop is what is tried here.
    time.sleep(after_s)
    began = time.monotonic()
    supervisor.stop()
    # A lost SIGTERM costs 35 s.
    assert time.monotonic() - began < PROCESS_STOP_S / 2
    assert supervisor.identity() is None
    assert not any(record.living() for record in place.processes().values())


def test_the_processes_finish_side_by_side(place: Place, diaries: Path) -> None:
    supervisor = start(place, diaries, COMPANION)
    eventually(lambda: len(list(diaries.iterdir())) == 5, deadline_s=20)
    supervisor.stop()
    assert len(list(diaries.glob("*.together"))) == 5


def test_processes_whose_supervisor_was_killed_go_on_and_end_side_by_side(place: Place, diaries: Path) -> None:
    supervisor = start(place, diaries, COMPANION)
    eventually(lambda: len(list(diaries.iterdir())) == 5, deadline_s=20)
    identity = supervisor.identity()
    assert identity is not None
    identity.send(signal.SIGKILL)
    assert identity.wait(10)
    killed_at = time.time()
    eventually(lambda: all(diary.stat().st_mtime > killed_at for diary in diaries.iterdir()))
    assert len(place.processes()) == len(list(diaries.iterdir())) == 5
    supervisor.stop()
    assert len(list(diaries.glob("*.together"))) == 5
    assert not place.processes()


def test_an_interrupt_before_the_record_was_written_loses_no_supervisord(place: Place, diaries: Path) -> None:
    supervisor = start(place, diaries)
    (place.run / "supervisord.pid").unlink()
    assert supervisor.identity() is not None
    supervisor.stop()
    assert supervisor.identity() is None
