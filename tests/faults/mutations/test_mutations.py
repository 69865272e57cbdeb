"""Tests that each mutation still fits the code and names a scenario that exists."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ops.place import ROOT
from tests.faults.harness.scenario import load_scenarios
from tests.faults.mutations.mutants import MUTANTS
from tests.faults.mutations.mutation import PRODUCT, Mutation, mutate


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
