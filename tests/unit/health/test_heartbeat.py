"""Tests what ends a heartbeat, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors import RedisUnavailable
from shared.health.heartbeat import Heartbeat
from shared.health.registry import Forced, WorkerState
from tests.support.waiting import eventually_async


class Store(WorkerState):
    """Raises each of its errors at one heartbeat (None: it is written); remembers the order of all calls."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.journal: list[str] = []

    async def forced(self) -> dict[str, Forced]:
        return {"fcm": "open"}

    async def beat(self, _state: Mapping[str, Any]) -> None:
        self.journal.append("beat")
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    async def remove(self) -> None:
        self.journal.append("remove")


def heartbeat_of(store: Store) -> Heartbeat:
    return Heartbeat(store, 0.001, dict, lambda forced: store.journal.append(f"apply {dict(forced)}"))


async def test_it_applies_orders_before_each_heartbeat_and_removes_its_entry_at_the_end() -> None:
    store = Store()
    heartbeat = heartbeat_of(store)
    beating = asyncio.create_task(heartbeat.run())
    await eventually_async(lambda: "beat" in store.journal)
    heartbeat.stop()
    await asyncio.wait_for(beating, 5)
    assert store.journal[:2] == ["apply {'fcm': 'open'}", "beat"]
    assert store.journal[-1] == "remove"


async def test_it_continues_while_redis_does_not_answer_and_logs_each_outage_once() -> None:
    away = RedisUnavailable("away")
    store = Store(away, away, None, away, None)
    heartbeat = heartbeat_of(store)
    with capture_logs() as lines:
        beating = asyncio.create_task(heartbeat.run())
        await eventually_async(lambda: store.journal.count("beat") >= 6)
        heartbeat.stop()
        await asyncio.wait_for(beating, 5)
    assert [line["event"] for line in lines] == ["heartbeat_not_written"] * 2


async def test_an_unforeseen_error_is_raised_not_swallowed() -> None:
    with pytest.raises(KeyError, match="unforeseen"):
        await asyncio.wait_for(heartbeat_of(Store(KeyError("unforeseen"))).run(), 5)
