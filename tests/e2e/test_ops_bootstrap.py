"""Tests the script ``./notify``: it makes its environment once, from any directory, and after any interruption."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ops.place import ROOT
from tests.support.waiting import eventually

MAIN = "import os, sys; print(sys.prefix, os.getcwd(), os.environ['NOTIFY_CALLED_FROM'], *sys.argv[1:], sep='|')"


def new_checkout(directory: Path) -> Path:
    """Makes a checkout with the script, empty requirements, and a command that prints how it was called."""
    root = directory / "a checkout"
    (root / "ops").mkdir(parents=True)
    (root / "ops" / "__main__.py").write_text(MAIN)
    shutil.copy(ROOT / "notify", root)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (root / name).write_text("# nothing\n")
    return root


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Makes a checkout in which the script has never run."""
    return new_checkout(tmp_path)


@pytest.fixture(scope="module")
def first_call(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Makes a checkout in which the script has run once. Returns it and the result of that run."""
    made = new_checkout(tmp_path_factory.mktemp("prepared"))
    return made, call(made / "notify", "status", "--x", "a b")


@pytest.fixture
def prepared(first_call: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> Path:
    """Copies that checkout with its environment, because making an environment takes seconds."""
    return shutil.copytree(first_call[0], tmp_path / "a checkout", symlinks=True)


def call(script: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def test_the_second_time_nothing_is_prepared_and_it_is_quick(
    first_call: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    checkout, first = first_call
    assert first.returncode == 0, first.stderr
    assert first.stdout.split("|")[0] == str(checkout / ".venv")
    assert first.stdout.rstrip().split("|")[3:] == ["status", "--x", "a b"]
    began = time.monotonic()
    second = call(checkout / "notify", "status")
    assert time.monotonic() - began < 3
    assert (second.returncode, second.stderr) == (0, "")


def test_from_another_directory_and_through_a_symbolic_link(prepared: Path, tmp_path: Path) -> None:
    link = tmp_path / "bin" / "n"
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(prepared / "notify", link.parent))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = call(link, "status", cwd=elsewhere)
    assert done.stdout.rstrip().split("|")[1:3] == [str(prepared), str(elsewhere)]


def test_an_interrupted_set_up_does_no_harm(checkout: Path) -> None:
    for after_s in (0.5, 1.5):
        process = subprocess.Popen(
            [checkout / "notify", "status"],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    again = call(checkout / "notify", "status")
    assert again.returncode == 0, again.stderr
    assert not (checkout / ".local" / "venv-unfinished").exists()


def test_changed_requirements_are_installed_and_the_larger_set_contains_the_smaller(prepared: Path) -> None:
    assert "Preparing" in call(prepared / "notify", "check").stderr
    assert "Preparing" not in call(prepared / "notify", "up").stderr
    (prepared / "requirements.txt").write_text("# changed\n")
    assert "Preparing" in call(prepared / "notify", "up").stderr
    assert "Preparing" not in call(prepared / "notify", "up").stderr
    assert "Preparing" in call(prepared / "notify", "test").stderr


def test_a_failed_installation_is_not_taken_for_done(prepared: Path) -> None:
    (prepared / "requirements.txt").write_text("./no-such-directory\n")
    failed = call(prepared / "notify", "up")
    assert failed.returncode != 0
    assert "no-such-directory" in failed.stderr
    (prepared / "requirements.txt").write_text("# mended\n")
    assert call(prepared / "notify", "up").returncode == 0


def test_two_at_once_both_arrive(checkout: Path) -> None:
    both = [
        subprocess.Popen([checkout / "notify", "up"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for process in both:
        process.communicate(timeout=120)
    assert [process.returncode for process in both] == [0, 0]
    assert (checkout / ".venv" / "notify-run.txt").exists()
    eventually(lambda: not (checkout / ".local" / "venv-unfinished").exists())
