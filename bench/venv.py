"""Makes the virtual environment of the peers: on first use, and again when its requirements change."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from bench.errors import BenchFailed
from bench.processes import ROOT

_VENV = ROOT / ".venv-bench"
_REQUIREMENTS = ROOT / "bench" / "requirements.txt"


def program(name: str) -> Path:
    """Returns the path of a program of that environment."""
    return _VENV / "bin" / name


def prepare() -> None:
    """Makes the environment match ``bench/requirements.txt``; returns at once if it already does."""
    mark = _VENV / "requirements.sha256"
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return
    _run(_base_python(), "-m", "venv", str(_VENV))
    _run(str(program("python")), "-m", "pip", "install", "--quiet", "--requirement", str(_REQUIREMENTS))
    mark.write_text(wanted)


def _base_python() -> str:
    # This process runs in the product's own environment; a venv made from that venv would depend on it.
    return os.path.realpath(sys.executable)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"{' '.join(argv)}\n{done.stderr.strip()}")
