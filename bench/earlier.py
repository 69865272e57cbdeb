"""Checks out an earlier commit of this repository, to be measured beside today's code."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchFailed
from bench.processes import ROOT


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Yields a work tree of ``revision`` with an environment of its own, both removed afterwards.

    Raises BenchFailed if git does not know the revision, or if its requirements cannot be installed.
    """
    with tempfile.TemporaryDirectory(prefix="notify-earlier-") as directory:
        tree = Path(directory) / "tree"
        _run("git", "worktree", "add", "--quiet", "--detach", str(tree), revision)
        try:
            # Made from the interpreter itself: a venv that is made from a venv would depend on it.
            _run(os.path.realpath(sys.executable), "-m", "venv", str(tree / ".venv"))
            _run(python_of(tree), "-m", "pip", "install", "--quiet", "--requirement", str(tree / "requirements.txt"))
            yield tree
        finally:
            _run("git", "worktree", "remove", "--force", str(tree))


def python_of(tree: Path) -> str:
    """Returns the interpreter that runs the code of ``tree``: this one for today's code."""
    return sys.executable if tree == ROOT else str(tree / ".venv" / "bin" / "python")


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"{' '.join(command)}: {done.stderr.strip()}")
