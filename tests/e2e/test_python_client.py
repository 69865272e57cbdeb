"""Tests that pip installs the Python client from its folder into an empty environment, as its README says."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "clients" / "python"
_PROGRAM = """
from importlib.metadata import version
from importlib.resources import files
from notify_client import Arrived, Listener, Sender
assert files("notify_client").joinpath("py.typed").is_file()
Listener("ws://127.0.0.1:1/ws", token="t")
Sender("http://127.0.0.1:1")
print(version("notify-client"))
"""


def test_pip_installs_it_from_its_folder(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    before = sorted(path for path in FOLDER.rglob("*") if "__pycache__" not in path.parts)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(FOLDER)]
    subprocess.run(install, check=True, timeout=300)
    assert sorted(path for path in FOLDER.rglob("*") if "__pycache__" not in path.parts) == before
    # -W error: it warns of nothing either.
    command = [str(python), "-W", "error", "-c", _PROGRAM]
    done = subprocess.run(command, check=True, cwd=tmp_path, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == (ROOT / "VERSION").read_text().strip()
