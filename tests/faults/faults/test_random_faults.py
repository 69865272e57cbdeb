"""Tests the soak's schedule, which --seed promises to repeat."""

from __future__ import annotations

import random

from tests.faults.faults.random_faults import FAULTS, PROVIDERS, Strike, schedule

WORKERS = ("push-0", "push-1", "email-0", "sms-0")
MORTAL = ("push-0", "sms-0")


def drawn(seed: int, planned_s: float) -> list[Strike]:
    return schedule(random.Random(seed), planned_s, WORKERS, MORTAL)


def test_the_same_seed_draws_the_same_schedule() -> None:
    assert drawn(1, 600) == drawn(1, 600)
    assert drawn(1, 600) != drawn(2, 600)


def test_every_fault_strikes_once_before_any_strikes_twice() -> None:
    assert {strike.fault for strike in drawn(1, 600)[: len(FAULTS)]} == set(FAULTS)


def test_it_takes_no_longer_than_planned() -> None:
    for seed in range(20):
        assert 540 < sum(strike.planned_s for strike in drawn(seed, 600)) <= 600


def test_a_fault_strikes_only_whom_it_may() -> None:
    strikes = [strike for seed in range(20) for strike in drawn(seed, 600)]
    victims = {name: {strike.who for strike in strikes if strike.fault == name} for name in FAULTS}
    assert victims["worker_killed"] == set(MORTAL)
    assert victims["worker_frozen"] == set(WORKERS)
    assert victims["answers_cut"] == victims["provider_slow"] == set(PROVIDERS)
    assert victims["redis_killed"] == {""}
