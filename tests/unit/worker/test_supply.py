"""A lane that cannot be opened is the others' business as little as its own is urgent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from shared.broker.consumer import Consumer
from shared.message.channels import Lane, lanes_of
from shared.worker.supply import MEND_EVERY_S, Supply

HIGH, MEDIUM, LOW = lanes_of("push")


class RememberingConsumer:
    """Opens every lane but those in ``refused``; remembers what it opened."""

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


def supply_of(consumer: RememberingConsumer) -> Supply:
    return Supply(cast("Consumer", consumer), {HIGH: 64, MEDIUM: 128, LOW: 64})


async def test_what_is_held_already_narrows_a_lane_but_never_closes_it() -> None:
    consumer = RememberingConsumer()
    await supply_of(consumer).flow({MEDIUM: 100, LOW: 64})
    assert consumer.opened == [(HIGH, 64), (MEDIUM, 28), (LOW, 1)]


async def test_the_others_flow_although_one_is_broken() -> None:
    consumer = RememberingConsumer(HIGH)
    supply = supply_of(consumer)
    assert await supply.take_one() is None
    await supply.flow()
    assert [lane for lane, _ in consumer.opened] == [MEDIUM, LOW]
    assert supply.broken == {HIGH}
    consumer.refused.clear()
    await supply.mend()
    assert not supply.broken


async def test_a_broken_lane_is_mended_at_once_and_then_once_a_second() -> None:
    consumer = RememberingConsumer(HIGH)
    supply = supply_of(consumer)
    assert supply.mend_in_s() is None
    await supply.flow()
    assert supply.mend_in_s() == 0
    await supply.mend()
    left_s = supply.mend_in_s()
    assert left_s is not None
    assert MEND_EVERY_S / 2 < left_s <= MEND_EVERY_S
    consumer.refused.clear()
    await supply.mend()
    assert supply.mend_in_s() is None
    assert consumer.opened[-1] == (HIGH, 64)
    assert consumer.declared == 2
