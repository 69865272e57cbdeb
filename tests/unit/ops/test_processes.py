"""Tests that a process is never mistaken for another one, and that it can be ended in every state."""

import os
import subprocess
import sys
from pathlib import Path

from ops.processes import Daemon, Identity, PidFile
from tests.support.waiting import eventually

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


def started(directory: Path, argv: list[str]) -> tuple[Daemon, Identity]:
    daemon = Daemon("d", directory / "d.pid", directory / "d.log")
    daemon.spawn(argv, dict(os.environ))
    eventually(lambda: "up" in daemon.tail())
    identity = daemon.identity()
    assert identity is not None
    return daemon, identity


def test_a_pid_that_was_used_again_is_not_ours(tmp_path: Path) -> None:
    myself = Identity.of(os.getpid())
    assert myself is not None
    assert myself.alive()
    record = PidFile(tmp_path / "x.pid")
    record.write(Identity(os.getpid(), "another start"))
    assert record.living() is None


def test_a_zombie_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    eventually(lambda: Identity.of(child.pid) is None)
    child.wait()


def test_a_broken_record_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    for text in ("", "{}", "nonsense", "[1]", '{"pid": "x", "started": ""}'):
        path.write_text(text)
        assert PidFile(path).living() is None


def test_another_run_ends_what_it_finds_on_record(tmp_path: Path) -> None:
    first, identity = started(tmp_path, SLEEP)
    assert Daemon("d", tmp_path / "d.pid", tmp_path / "d.log").end(10)
    assert not identity.alive()
    assert first.identity() is None


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    daemon, identity = started(tmp_path, DEAF)
    assert not daemon.end(0.2)
    assert not identity.alive()


def test_a_stopped_process_is_ended(tmp_path: Path) -> None:
    daemon, identity = started(tmp_path, SLEEP)
    daemon.freeze()
    assert Path(f"/proc/{identity.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    assert daemon.end(10)
    assert not identity.alive()


def test_the_group_goes_with_its_leader(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    )
    daemon, identity = started(tmp_path, [sys.executable, "-c", parent + "print(c.pid, 'up', flush=True); c.wait()"])
    child = Identity.of(int(daemon.tail().split()[0]))
    assert child is not None
    identity.end(10, group=True)
    assert child.wait(10)
    daemon.end(1)


def test_the_children_do_not_hear_the_terminals_interrupt(tmp_path: Path) -> None:
    daemon, identity = started(tmp_path, SLEEP)
    assert os.getpgid(identity.pid) != os.getpgid(0)
    daemon.kill()
