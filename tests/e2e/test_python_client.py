"""Tests that pip installs the Python client from its folder into an empty environment."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROGRAM = """
from importlib.resources import files
from notify_client import Arrived, Listener, Sender
assert files("notify_client").joinpath("py.typed").is_file()
Listener("ws://127.0.0.1:1/ws", token="t")
Sender("http://127.0.0.1:1")
"""


def test_pip_installs_it_from_its_folder(tmp_path: Path) -> None:
    # setuptools writes into the folder that it builds.
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", str(ROOT / "clients" / "python"), str(source)], check=True)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(source)]
    subprocess.run(install, check=True, timeout=300)
    # -W error: it warns of nothing either.
    subprocess.run([str(python), "-W", "error", "-c", _PROGRAM], check=True, cwd=tmp_path, timeout=60)
