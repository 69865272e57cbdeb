"""Tests that the lock files name everything that the .in files ask for, and every package with its hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_HASHES = r"((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
_LOCKED = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+?)(?: ; [^\\\n]*)? \\\n" + _HASHES, re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    """Maps each package to its version; the file must hold nothing without hashes."""
    text = (ROOT / name).read_text()
    found = {package: version for package, version, _ in _LOCKED.findall(text)}
    assert re.sub(r"^ *#.*\n", "", _LOCKED.sub("", text), flags=re.M).strip() == ""
    return found


def asked(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and line[0] not in "#-"]
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize(
    ("lock", "sources"),
    [("requirements.txt", ["requirements.in"]), ("requirements-dev.txt", ["requirements.in", "requirements-dev.in"])],
)
def test_everything_is_locked_as_it_is_asked_for(lock: str, sources: list[str]) -> None:
    versions = locked(lock)
    for source in sources:
        for package, version in asked(source).items():
            assert versions[package].startswith(version.removesuffix("*")), package
            assert version.endswith("*") or versions[package] == version, package


def test_both_locks_agree() -> None:
    assert locked("requirements.txt").items() <= locked("requirements-dev.txt").items()


def test_the_command_installs_nothing_without_a_hash() -> None:
    lines = [line for line in (ROOT / "notify").read_text().splitlines() if "--requirement" in line]
    assert len(lines) == 2
    assert all("--require-hashes" in line for line in lines)
