"""Tests that the Python client is a package of its own, which tests/e2e installs."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "clients" / "python"


def test_it_has_the_version_of_the_project() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    assert project["version"] == (ROOT / "VERSION").read_text().strip()


def test_it_imports_nothing_of_the_server_and_only_the_library_that_it_names() -> None:
    imported = set()
    for path in (FOLDER / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
    assert imported - sys.stdlib_module_names == {"notify_client", "websockets"}
