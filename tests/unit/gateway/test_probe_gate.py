"""The gate before the broker, and before Redis, with a clock of the test's own."""

import pytest

from gateway.accept.probe_gate import Pass, ProbeGate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> ProbeGate:
    return ProbeGate(clock, max_waiting=3)


def _admitted(gate: ProbeGate) -> Pass:
    leave = gate.admit()
    assert isinstance(leave, Pass), leave
    return leave


def test_while_answers_come_everyone_is_let_through(gate: ProbeGate) -> None:
    for _ in range(100):
        _admitted(gate).answered()
    assert not gate.shut


def test_one_missed_deadline_turns_everyone_away_at_once(gate: ProbeGate) -> None:
    _admitted(gate).missed()
    assert gate.shut
    assert gate.admit() == "shut"


def test_one_probe_a_second_is_let_through_while_it_is_shut(gate: ProbeGate, clock: Clock) -> None:
    _admitted(gate).missed()
    clock.now += 0.99
    assert gate.admit() == "shut"
    clock.now += 0.02
    _admitted(gate)
    assert gate.admit() == "shut"
    clock.now += 1.0
    _admitted(gate)


def test_an_answer_to_the_probe_opens_it_for_everyone(gate: ProbeGate, clock: Clock) -> None:
    _admitted(gate).missed()
    clock.now += 1.0
    _admitted(gate).answered()
    assert not gate.shut
    _admitted(gate)
    _admitted(gate)


def test_a_late_answer_to_an_earlier_request_opens_it_too(gate: ProbeGate) -> None:
    early = _admitted(gate)
    _admitted(gate).missed()
    early.answered()
    assert not gate.shut


def test_a_miss_from_before_it_opened_again_is_old_news(gate: ProbeGate, clock: Clock) -> None:
    straggler = _admitted(gate)
    _admitted(gate).missed()
    clock.now += 1.0
    _admitted(gate).answered()
    straggler.missed()
    assert not gate.shut


def test_a_missed_probe_leaves_it_shut_for_another_second(gate: ProbeGate, clock: Clock) -> None:
    _admitted(gate).missed()
    clock.now += 1.0
    _admitted(gate).missed()
    assert gate.admit() == "shut"
    clock.now += 1.0
    _admitted(gate)


def test_only_so_many_may_wait_at_once(gate: ProbeGate) -> None:
    waiting = [_admitted(gate) for _ in range(3)]
    assert gate.admit() == "full"
    waiting.pop().answered()
    waiting.append(_admitted(gate))
    waiting.pop().neither()
    _admitted(gate)
    assert gate.admit() == "full"
    assert not gate.shut


def test_silence_is_news_for_a_while_only(gate: ProbeGate, clock: Clock) -> None:
    assert not gate.silent
    _admitted(gate).missed()
    assert gate.silent
    clock.now += 9
    _admitted(gate).missed()
    clock.now += 9
    assert gate.silent
    clock.now += 1.5
    assert not gate.silent
    assert gate.shut
    _admitted(gate).answered()
    assert not gate.shut
