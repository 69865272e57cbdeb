"""What is read off times: gaps, firsts and lasts."""

from __future__ import annotations

from tests.faults.ledger.spans import first_after, last_after, longest_gap


def test_the_longest_gap_may_lie_before_the_first_and_after_the_last() -> None:
    assert longest_gap([14.0, 11.0, 12.0], 10.0, 15.0) == 2.0
    assert longest_gap([14.0], 10.0, 15.0) == 4.0
    assert longest_gap([11.0], 10.0, 15.0) == 4.0


def test_with_nothing_there_the_gap_is_everything() -> None:
    assert longest_gap([9.0, 16.0], 10.0, 15.0) == 5.0


def test_first_and_last_are_counted_from_the_blow() -> None:
    assert first_after([13.0, 12.0, 9.0], 10.0) == 2.0
    assert last_after([13.0, 12.0, 9.0], 10.0) == 3.0


def test_there_may_be_neither() -> None:
    assert first_after([9.0], 10.0) is None
    assert last_after([], 10.0) is None
