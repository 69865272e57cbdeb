"""Test processes that run side by side: each has its own ports, and a test that is ``alone`` runs alone."""

import threading
from pathlib import Path

import pytest

from tests.support import servers, turns
from tests.support.waiting import eventually


def test_no_port_is_given_to_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_TEST_PORTS", "21000-21999")
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    ranges = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        ranges.append(servers._range())
    assert ranges == [(21000, 21499), (21500, 21999)]


@pytest.mark.parametrize(("alone", "other"), [(True, True), (True, False), (False, True)])
def test_a_test_that_is_alone_waits_and_is_waited_for(
    alone: bool, other: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setattr(turns, "_LOCK", tmp_path / "turns.lock")
    seen: list[str] = []

    def another_process() -> None:
        seen.append("waits")
        with turns.turn(alone=other):
            seen.append("runs")

    thread = threading.Thread(target=another_process)
    with turns.turn(alone=alone):
        thread.start()
        eventually(lambda: seen)
        thread.join(0.1)
        assert seen == ["waits"]
    thread.join(10)
    assert seen == ["waits", "runs"]


def test_others_share_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setattr(turns, "_LOCK", tmp_path / "turns.lock")
    with turns.turn(alone=False), turns.turn(alone=False):
        pass
