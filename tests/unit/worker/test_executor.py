"""Tests which waiting message starts next."""

from __future__ import annotations

from collections import Counter

import pytest

from shared.message.channels import PRIORITIES, Priority
from shared.worker.executor import LaneQueue
from tests.support.fakes.incoming import make_incoming


def filled(**counts: int) -> LaneQueue:
    queue = LaneQueue()
    for priority in PRIORITIES:
        for tag in range(counts.get(priority, 0)):
            queue.push(make_incoming(priority=priority, tag=tag))
    return queue


def starts(queue: LaneQueue, count: int) -> Counter[Priority]:
    popped = [queue.pop() for _ in range(count)]
    return Counter(incoming.lane.priority for incoming in popped if incoming is not None)


def test_of_ten_starts_high_gets_eight_and_each_other_lane_one() -> None:
    assert starts(filled(high=100, medium=100, low=100), 10) == {"high": 8, "medium": 1, "low": 1}


def test_no_lane_is_starved_over_a_long_run() -> None:
    counts = starts(filled(high=1000, medium=1000, low=1000), 1000)
    assert counts["low"] == 100
    assert counts["medium"] == 100


def test_high_gets_all_it_has_although_little_waits_there() -> None:
    assert starts(filled(high=3, medium=50, low=50), 10)["high"] == 3


def test_low_keeps_its_floor_under_medium() -> None:
    assert starts(filled(medium=50, low=50), 10) == {"medium": 9, "low": 1}


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_lane_alone_gets_every_start_in_order(priority: Priority) -> None:
    queue = filled(**{priority: 30})
    popped = [queue.pop() for _ in range(30)]
    assert [incoming.tag for incoming in popped if incoming is not None] == list(range(30))
    assert queue.pop() is None
