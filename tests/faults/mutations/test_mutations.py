"""Each mutation still fits the code, and names a scenario that exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.place import ROOT
from tests.faults.harness.scenario import load_scenarios
from tests.faults.mutations.mutants import MUTANTS
from tests.faults.mutations.trial import DoesNotApply, Mutation, mutate


@pytest.mark.parametrize("mutation", MUTANTS, ids=lambda mutation: mutation.name)
def test_a_mutation_replaces_exactly_one_place_and_the_file_still_compiles(mutation: Mutation, tmp_path: Path) -> None:
    file = tmp_path / mutation.file
    file.parent.mkdir(parents=True)
    file.write_text((ROOT / mutation.file).read_text())
    mutate(tmp_path, mutation)
    compile(file.read_text(), mutation.file, "exec")
    assert set(mutation.noticed_by) <= set(load_scenarios())


def test_a_mutation_that_no_longer_fits_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("a = 1\na = 1\n")
    for old in ("a = 1\n", "a = 2\n"):
        with pytest.raises(DoesNotApply):
            mutate(tmp_path, Mutation("m", "", "file.py", old, "", ()))
