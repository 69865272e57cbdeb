"""Checks how much a device may say."""

from __future__ import annotations

from services.websocket.transport.allowance import Allowance, Verdict

MAY, REFUSED, LAST = Verdict.MAY, Verdict.REFUSED, Verdict.LAST


def test_forty_frames_may_come_at_once_and_the_third_beyond_them_is_the_last() -> None:
    allowance = Allowance()
    assert [allowance.take(1000.0) for _ in range(43)] == [MAY] * 40 + [REFUSED, REFUSED, LAST]


def test_twenty_frames_a_second_may_come_for_ever() -> None:
    allowance = Allowance()
    assert {allowance.take(1000 + number / 20) for number in range(1000)} == {MAY}


def test_faster_than_that_the_allowance_is_used_up() -> None:
    allowance = Allowance()
    verdicts = [allowance.take(1000 + number / 25) for number in range(1000)]
    assert verdicts[:190] == [MAY] * 190
    assert REFUSED in verdicts


def test_a_silent_device_saves_no_more_than_forty() -> None:
    allowance = Allowance()
    allowance.take(1000.0)
    assert [allowance.take(9000.0) for _ in range(41)] == [MAY] * 40 + [REFUSED]


def test_two_refused_frames_are_forgotten_after_ten_seconds() -> None:
    allowance = Allowance()
    now = 1000.0
    for _ in range(5):
        assert [allowance.take(now) for _ in range(42)] == [MAY] * 40 + [REFUSED] * 2
        now += 10.01
    assert [allowance.take(now) for _ in range(42)] == [MAY] * 40 + [REFUSED] * 2
    now += 9.9
    assert [allowance.take(now) for _ in range(41)] == [MAY] * 40 + [LAST]
