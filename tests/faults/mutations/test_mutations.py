"""Tests that each mutation still fits the code and names a scenario that exists."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ops.place import ROOT
from tests.faults.harness.scenario import load_scenarios
from tests.faults.mutations.mutants import MUTANTS
from tests.faults.mutations.mutation import PRODUCT, DoesNotApply, Mutation, mutate


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a copy of the product's code."""
    tree = tmp_path_factory.mktemp("product")
    for package in PRODUCT:
        for file in (ROOT / package).rglob("*.py"):
            copy = tree / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return tree


@pytest.mark.parametrize("mutation", MUTANTS, ids=lambda mutation: mutation.name)
def test_a_mutation_replaces_exactly_one_place_and_the_file_still_compiles(mutation: Mutation, product: Path) -> None:
    file = mutate(product, mutation)
    changed, whole = file.read_text(), (ROOT / file.relative_to(product)).read_text()
    file.write_text(whole)
    assert changed != whole
    compile(changed, file.name, "exec")
    assert set(mutation.noticed_by) <= set(load_scenarios())


def changed(tmp_path: Path, text: str, old: str, new: str, function: str = "C.f") -> str:
    file = tmp_path / "shared" / "file.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return mutate(tmp_path, Mutation("m", "", function, old, new, ())).read_text()


def test_the_function_counts_and_the_layout_does_not(tmp_path: Path) -> None:
    other = "    def g(self):\n        a = g(1, 2)\n"
    text = f"class C:\n    def f(self):\n        a = g(\n            1, 2\n        )\n{other}"
    expected = text.replace("a = g(\n            1, 2\n        )", "b = 1\n        c = 2")
    assert changed(tmp_path, text, "a = g(1, 2)", "b = 1\nc = 2") == expected


def test_what_is_replaced_by_nothing_still_compiles(tmp_path: Path) -> None:
    assert changed(tmp_path, "def f():\n    a()\n    b()\n", "a()\nb()", "", "f") == "def f():\n    pass\n"


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("class C:\n    def f(self):\n        a = 1\n        a = 1\n", "a = 1"),
        ("class C:\n    def f(self):\n        a = 1\n", "a = 2"),
        ("def f():\n    a = 1\n", "a = 1"),
        ("class C:\n    def f(self):\n        a = 1\n    def f(self):\n        a = 1\n", "a = 1"),
    ],
)
def test_a_mutation_that_no_longer_fits_is_an_error(text: str, old: str, tmp_path: Path) -> None:
    with pytest.raises(DoesNotApply):
        changed(tmp_path, text, old, "")
