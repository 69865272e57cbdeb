"""Reads a page of ``docs``, for tests that compare it with the code."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Document:
    """Holds one page."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "docs" / name).read_text()

    @property
    def flowing(self) -> str:
        """Returns the text without its line breaks, so that a sentence can be searched."""
        return re.sub(r"\s+", " ", self.text)

    def section(self, title: str) -> str:
        """Returns what stands between this heading and the next one."""
        found = re.search(rf"^#+ {re.escape(title)}$(.*?)(?=^#|\Z)", self.text, re.MULTILINE | re.DOTALL)
        assert found, title
        return found[1]


def rows(table: str) -> list[list[str]]:
    """Returns the cells of each row of the tables in a text, without their heads."""
    found: list[list[str]] = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if cells and set(cells[0]) == {"-"}:
            found.pop()
        elif cells:
            found.append(cells)
    return found


def words(text: str) -> set[str]:
    """Returns the words that stand in backticks, or at the beginning of what does."""
    return set(re.findall(r"`(\w+)", text))


def constant(package: str, name: str) -> Any:
    """Returns the constant of this name, in whichever module of the package it is."""
    found = [
        value
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
        if not module.name.endswith("__main__")
        and (value := vars(importlib.import_module(module.name)).get(name)) is not None
    ]
    assert found, name
    # Modules that import it have the same one.
    assert all(value == found[0] for value in found), name
    return found[0]
