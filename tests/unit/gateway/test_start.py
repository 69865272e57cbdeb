"""Tests the start: all bad settings are named, and the exit code is 2."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def _start(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-m", "gateway"], cwd=directory, env=variables, capture_output=True, text=True, timeout=30
    )


def test_every_bad_setting_is_named_at_once(tmp_path: Path) -> None:
    ended = _start(tmp_path, GATEWAY_PORT="none", PREFETCH="0", API_KEYS="nonsense")
    assert ended.returncode == 2
    for name in ("GATEWAY_PORT", "PREFETCH", "API_KEYS"):
        assert name in ended.stderr


def test_production_without_keys_is_refused(tmp_path: Path) -> None:
    ended = _start(tmp_path, NOTIFY_ENV="production")
    assert ended.returncode == 2
    assert "API_KEYS" in ended.stderr
    assert "Traceback" not in ended.stderr
