"""Tests the order in which test processes that run side by side take the files of tests."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import pytest

from ops.develop.testing import SIDE_BY_SIDE
from ops.place import ROOT
from tests.conftest import pytest_collection_modifyitems
from tests.support.run.order import SECONDS

LONGEST, SHORTEST = (choose(SECONDS, key=lambda name: SECONDS[name]) for choose in (max, min))
COLLECTED = ["a.py::test_1", f"{SHORTEST}::test_2", f"{LONGEST}::test_4[x::y]", f"{LONGEST}::test_3", "b.py::test"]


@dataclass(frozen=True)
class Item:
    nodeid: str


def ordered() -> list[str]:
    items = [Item(nodeid) for nodeid in COLLECTED]
    pytest_collection_modifyitems(cast(list[pytest.Item], items))
    return [item.nodeid for item in items]


def test_the_longest_files_come_first_and_each_keeps_the_order_of_its_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    shortest, long_4, long_3 = COLLECTED[1:4]
    assert ordered() == [long_4, long_3, shortest, COLLECTED[0], COLLECTED[4]]
    # Without this option the file with the most tests would be the first.
    assert "--no-loadscope-reorder" in SIDE_BY_SIDE


def test_a_single_process_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert ordered() == COLLECTED


def test_every_file_with_a_known_time_exists() -> None:
    assert [name for name in SECONDS if not (ROOT / name).is_file()] == []
    assert all(before >= after for before, after in pairwise(SECONDS.values()))
