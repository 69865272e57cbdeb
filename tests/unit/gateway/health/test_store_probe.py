"""Tests that /health learns whether the store answers, without waiting long and without a second waiting thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from gateway.health import store as probing
from gateway.health.store import StoreProbe
from shared.errors import NotifyError, SchemaMismatch, StoreUnavailable
from shared.store.store import Store
from shared.store.values import Owner, Position
from tests.support.waiting import eventually


class FakeStore(Store):
    def __init__(self) -> None:
        self.asked = 0
        self.broken: NotifyError | None = None
        self.frozen = threading.Event()
        self.frozen.set()

    def check_schema(self) -> None:
        if isinstance(self.broken, SchemaMismatch):
            raise self.broken

    def positions(self, owners: Iterable[Owner]) -> dict[Owner, Position]:
        self.asked += 1
        self.frozen.wait()
        if self.broken is not None:
            raise self.broken
        return {}


@pytest.mark.parametrize("error", [StoreUnavailable("down"), SchemaMismatch("the database is newer")])
def test_a_store_that_answers_is_up_and_one_that_fails_is_down(error: NotifyError) -> None:
    store = FakeStore()
    probe = StoreProbe(store)
    assert probe.is_up()
    store.broken = error
    assert not probe.is_up()
    store.broken = None
    assert probe.is_up()


def test_a_store_that_has_stopped_is_down_and_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "PATIENCE_S", 0.01)
    store = FakeStore()
    probe = StoreProbe(store)
    store.frozen.clear()
    assert [probe.is_up() for _ in range(3)] == [False, False, False]
    assert store.asked == 1
    store.frozen.set()
    eventually(probe.is_up, 10)
