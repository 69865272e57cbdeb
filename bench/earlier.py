"""Checks out an earlier commit of this repository, to be measured beside today's code."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchFailed
from bench.processes import ROOT


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Yields a work tree of ``revision``, removed afterwards. It runs with today's environment.

    Raises BenchFailed if git does not know the revision.
    """
    with tempfile.TemporaryDirectory(prefix="notify-earlier-") as directory:
        tree = Path(directory) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*words: str) -> None:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"git {' '.join(words)}: {done.stderr.strip()}")
