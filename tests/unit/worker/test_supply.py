"""Tests that a lane that cannot be opened does not affect the others, and is repaired at intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from shared.broker.consumer import Consumer
from shared.message.channels import Lane, lanes_of
from shared.metrics import Metrics
from shared.worker.supply import REPAIR_EVERY_S, BrokenLanes, Supply, share_prefetch

HIGH, MEDIUM, LOW = lanes_of("push")


class RememberingConsumer:
    """Opens every lane except those in ``refused``; remembers which lanes it opened."""

    def __init__(self, *refused: Lane) -> None:
        self.refused = set(refused)
        self.opened: list[tuple[Lane, int]] = []
        self.declared = 0

    async def declare(self) -> None:
        self.declared += 1

    async def get(self, lane: Lane) -> Any:
        self._check(lane)

    async def consume(self, prefetch: Mapping[Lane, int]) -> None:
        for lane, most in prefetch.items():
            self._check(lane)
            self.opened.append((lane, most))

    def _check(self, lane: Lane) -> None:
        if lane in self.refused:
            raise TimeoutError("no leader")


def supply_of(consumer: RememberingConsumer, broken: BrokenLanes | None = None) -> Supply:
    lanes = BrokenLanes("push", Metrics()) if broken is None else broken
    return Supply(cast("Consumer", consumer), {HIGH: 64, MEDIUM: 128, LOW: 64}, lanes)


async def test_held_messages_reduce_a_lanes_prefetch_but_never_close_it() -> None:
    consumer = RememberingConsumer()
    await supply_of(consumer).flow({MEDIUM: 100, LOW: 64})
    assert consumer.opened == [(HIGH, 64), (MEDIUM, 28), (LOW, 1)]


async def test_the_others_flow_although_one_is_broken() -> None:
    consumer = RememberingConsumer(HIGH)
    broken = BrokenLanes("push", Metrics())
    supply = supply_of(consumer, broken)
    assert await supply.take_one() is None
    await supply.flow()
    assert [lane for lane, _ in consumer.opened] == [MEDIUM, LOW]
    assert list(broken) == [HIGH]
    consumer.refused.clear()
    await supply.repair()
    assert not broken


async def test_each_break_of_a_lane_is_counted_once_and_the_gauge_tells_how_many_are_broken_now() -> None:
    metrics = Metrics()

    def breaks() -> float | None:
        return metrics.registry.get_sample_value("notify_lanes_broken_total", {"channel": "push", "lane": "high"})

    def broken_now() -> float | None:
        return metrics.registry.get_sample_value("notify_broken_lanes", {"channel": "push"})

    consumer = RememberingConsumer()
    supply = supply_of(consumer, BrokenLanes("push", metrics))
    await supply.flow()
    assert (breaks(), broken_now()) == (0, 0)
    consumer.refused.add(HIGH)
    await supply.take(HIGH)
    await supply.flow()
    await supply.repair()
    assert (breaks(), broken_now()) == (1, 1)
    consumer.refused.clear()
    await supply.repair()
    assert (breaks(), broken_now()) == (1, 0)
    consumer.refused.add(HIGH)
    await supply.take(HIGH)
    assert (breaks(), broken_now()) == (2, 1)


async def test_a_broken_lane_is_repaired_at_once_and_then_once_a_second() -> None:
    consumer = RememberingConsumer(HIGH)
    supply = supply_of(consumer)
    assert supply.repair_in_s() is None
    await supply.flow()
    assert supply.repair_in_s() == 0
    await supply.repair()
    left_s = supply.repair_in_s()
    assert left_s is not None
    assert REPAIR_EVERY_S / 2 < left_s <= REPAIR_EVERY_S
    consumer.refused.clear()
    await supply.repair()
    assert supply.repair_in_s() is None
    assert consumer.opened[-1] == (HIGH, 64)
    assert consumer.declared == 2


def test_prefetch_is_shared_a_quarter_a_half_and_a_quarter() -> None:
    assert list(share_prefetch(256, lanes_of("push")).values()) == [64, 128, 64]
    assert list(share_prefetch(1, lanes_of("push")).values()) == [1, 1, 1]
