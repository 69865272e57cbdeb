"""How a worker goes from mode to mode, without a broker: what it takes, what it opens, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from shared.message.channels import Lane
from shared.message.outcome import HoldCause
from shared.metrics import Metrics
from shared.settings.settings import Settings
from shared.worker.handler import Handler
from shared.worker.worker import Worker
from tests.support.incoming import make_incoming
from tests.support.waiting import eventually_async


class EmptyLanes:
    """Stands in for the supply. Its first ``full`` lanes give one message; asked in between, ``on_take`` is told."""

    def __init__(self, full: int = 0) -> None:
        self.full = full
        self.broken: set[Lane] = set()
        self.journal: list[str] = []
        self.on_take: list[Any] = []

    def mend_in_s(self) -> float | None:
        return None

    async def take(self, lane: Lane) -> Any:
        self.journal.append("take")
        for tell in self.on_take:
            tell(lane)
        if self.full:
            self.full -= 1
            return make_incoming(priority=lane.priority)
        return None

    async def take_one(self) -> Any:
        return await self.take(Lane("push", "medium"))

    async def flow(self, _in_hand: Mapping[Lane, int] | None = None) -> None:
        self.journal.append("flow")


class UpConsumer:
    """Stands in for the consumer: always up."""

    def __init__(self, journal: list[str]) -> None:
        self._journal = journal

    async def wait_up(self) -> None:
        await asyncio.sleep(0)

    async def cancel(self) -> None:
        self._journal.append("cancel")


class Unmended:
    """The cause of the pause is not over, and a probe is always worth while."""

    async def may_probe(self, _cause: HoldCause) -> bool:
        return True

    def is_over(self, _cause: HoldCause) -> bool:
        return False


class Holding:
    """Every message has to be held."""

    async def handle(self, _incoming: Any) -> HoldCause:
        return "provider"


@asynccontextmanager
async def driven(lanes: EmptyLanes, handler: Any, **settings: Any) -> AsyncIterator[Worker]:
    chosen = Settings(_env_file=None, **settings)  # type: ignore[call-arg]
    worker = Worker("push", chosen, cast("Handler", handler), cast("Any", Unmended()), Metrics(), "test")
    worker._supply = cast("Any", lanes)
    worker._consumer = cast("Any", UpConsumer(lanes.journal))
    drive = asyncio.create_task(worker._drive())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(drive, 5)


async def test_a_probe_that_wakes_its_worker_is_not_followed_by_another_at_once() -> None:
    lanes = EmptyLanes(full=1)
    async with driven(lanes, Holding(), pause_probe_s=30) as worker:
        # A lane without a queue says so whenever it is asked.
        lanes.on_take.append(worker._trouble)
        await eventually_async(lambda: worker.paused and worker.in_flight == 1)
        asked = len(lanes.journal)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(lanes.journal) <= asked + 1


async def test_a_connection_lost_in_the_careful_mode_is_followed_by_the_careful_mode() -> None:
    lanes = EmptyLanes()
    async with driven(lanes, Holding()) as worker:

        def lose_once(_lane: Lane) -> None:
            lanes.on_take.clear()
            worker._trouble(None)

        lanes.on_take.append(lose_once)
        await eventually_async(lambda: "flow" in lanes.journal)
        # Whatever flowed again before that is stopped: one message in hand in the whole process.
        assert lanes.journal[:3] == ["take", "cancel", "take"]
