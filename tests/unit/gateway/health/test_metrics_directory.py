"""Tests that the directory in which the processes of a gateway count is removed when they have ended."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gateway.health.metrics_directory import metrics_directory

ROOT = Path(__file__).parents[4]
#: Prints the name of its directory, and waits until it is ended.
GATEWAY = """
from gateway.health.metrics_directory import metrics_directory

with metrics_directory() as directory:
    (directory / "counter_1.db").write_bytes(b"x")
    print(directory, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def _another_gateway() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", GATEWAY], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_it_is_removed_at_the_end_and_named_meanwhile(temporary: Path) -> None:
    with metrics_directory() as directory:
        assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(directory)
        assert directory.parent == temporary
        (directory / "counter_1.db").touch()
    assert not directory.exists()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_the_next_gateway_removes_the_directory_of_a_killed_one_but_none_in_use(temporary: Path) -> None:
    killed, left = _another_gateway()
    running, used = _another_gateway()
    with killed, running:
        killed.kill()
        killed.wait()
        assert left.exists()
        with metrics_directory() as directory:
            assert sorted(temporary.iterdir()) == sorted([used, directory])
        running.communicate("\n")
    assert list(temporary.iterdir()) == []


def test_a_directory_that_another_start_removed_before_it_was_locked_is_not_used(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path] = []

    def flock(descriptor: int, how: int) -> None:
        if not taken:
            taken.extend(temporary.iterdir())
            taken[0].rmdir()

    monkeypatch.setattr(fcntl, "flock", flock)
    with metrics_directory() as directory:
        assert directory.exists()
        assert taken != [directory]


def test_importing_the_start_does_not_import_prometheus_before_there_is_a_directory() -> None:
    loaded = "import sys, gateway.__main__; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, check=False).returncode == 0
