"""The rules by which the code claims, forwards and records keep every promise; each wrong rule breaks one.

These tests run only the quick scenarios: ``python -m tests.models.claims --all`` runs the long ones, ``--mutants``
shows how each wrong rule breaks its promise.
"""

from __future__ import annotations

import pytest

from tests.models.claims.__main__ import caught
from tests.models.claims.exploration import explore
from tests.models.claims.rules import MUTANTS, Rules
from tests.models.claims.scenarios import FAULTS, LONG, QUICK


@pytest.mark.parametrize("name", QUICK)
def test_our_rules_keep_every_promise(name: str) -> None:
    found = explore(Rules(), QUICK[name])
    assert not found.wrong, str(found)
    assert found.states > 1


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_is_caught(name: str) -> None:
    trouble = caught(MUTANTS[name], QUICK)
    assert trouble is not None, f"as good as ours: {name}"
    scenario, found = trouble
    print(f"{name} [{scenario}]: {found}")
    assert found.way


def test_a_way_into_trouble_is_told_move_by_move() -> None:
    found = explore(MUTANTS["a held copy is dropped"], QUICK["a crash"])
    assert found.wrong.startswith("lost")
    assert any("crashes" in words for words in found.way)
    assert str(found).splitlines()[1].lstrip().startswith("1. attempt 0 is delivered")


def test_every_fault_has_a_scenario() -> None:
    tried = {fault for scenario in {**QUICK, **LONG}.values() for fault in scenario.faults}
    assert tried == set(FAULTS)
