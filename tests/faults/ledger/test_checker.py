"""Tests that the checker sees every broken promise: each ledger here breaks one, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.checker import check
from tests.faults.ledger.ledgers import Answer, Call, Entry, Key, Ledgers, Resources

HEALED = 100.0


def key(number: int) -> Key:
    return "push", f"id-{number}"


def call(number: int, at: float = 101.0, took: float | None = 0.1) -> Call:
    return Call(key(number), f"token-{number}", "fcm", at, None if took is None else at + took)


def kept() -> Ledgers:
    """Returns ledgers of three messages with three ends: delivered, skipped, dead-lettered."""
    everything = {key(1), key(2), key(3)}
    return Ledgers(
        accepted=set(everything),
        attempted=set(everything),
        calls=[call(1)],
        skipped={key(2)},
        failed=[Entry(key(3), "recipient_invalid", 1)],
        tries=Counter({key(1): 1, key(3): 1}),
        answers=[Answer("POST /notifications", 202, 0.01, 99.0)] * 100,
        resources=[Resources("push-0", {"fds": 20}, {"fds": 20})],
        healed_at=HEALED,
        drained_at=HEALED + 5,
    )


def bounds(**changes: object) -> Bounds:
    return Bounds(**{"failed": {"recipient_invalid": 1}, "p99_s": 0.5, **changes})  # type: ignore[arg-type]


def test_promises_that_were_kept_are_not_complained_about() -> None:
    assert check(kept(), bounds()) == []


def lose_one(led: Ledgers) -> None:
    led.accepted.add(key(9))
    led.attempted.add(key(9))


def leave_one(led: Ledgers) -> None:
    lose_one(led)
    led.held["push.queue"] = 1


def invent_one(led: Ledgers) -> None:
    led.calls.append(call(8))


def double_one(led: Ledgers) -> None:
    led.calls.append(call(1, at=103))
    led.counted["takeovers"] = 1


def never_drain(led: Ledgers) -> None:
    led.drained_at = None


def deliver_late(led: Ledgers) -> None:
    led.calls = [call(1, at=HEALED + 31)]


def retry_the_hopeless(led: Ledgers) -> None:
    led.failed = [Entry(key(3), "recipient_invalid", 2)]


def try_too_often(led: Ledgers) -> None:
    led.tries[key(1)] = 9


def fail_for_another_reason(led: Ledgers) -> None:
    led.failed.append(Entry(None, "invalid_json", 0))


def end_twice(led: Ledgers) -> None:
    led.skipped.add(key(1))


def bury_twice(led: Ledgers) -> None:
    led.failed.append(led.failed[0])


def answer_strangely(led: Ledgers) -> None:
    led.answers.append(Answer("POST /notifications", 500, 0.01, 99.0))


def answer_not_at_all(led: Ledgers) -> None:
    led.answers.append(Answer("GET /health", 0, 0.01, 99.0))


def accept_the_unsent(led: Ledgers) -> None:
    led.attempted.discard(key(2))


def answer_one_late(led: Ledgers) -> None:
    led.answers.append(Answer("POST /notifications", 503, 8.1, 99.0, "1"))


def refuse_without_a_time(led: Ledgers) -> None:
    led.answers.append(Answer("POST /notifications", 503, 0.1, 99.0))


def answer_slowly(led: Ledgers) -> None:
    led.answers += [Answer("POST /notifications", 202, 0.6, 99.0)] * 3


def leak(led: Ledgers) -> None:
    led.resources = [
        Resources("push-0", {"fds": 50, "threads": 4, "memory_mb": 80}, {"fds": 56, "threads": 4, "memory_mb": 80})
    ]


@pytest.mark.parametrize(
    ("breakage", "invariant", "allowed"),
    [
        (lose_one, "I1", {}),
        (leave_one, "I1", {}),
        (invent_one, "I2", {}),
        (double_one, "I3", {}),
        (never_drain, "I5", {}),
        (deliver_late, "I5", {}),
        (retry_the_hopeless, "I6", {}),
        (try_too_often, "I6", {}),
        (fail_for_another_reason, "I6", {}),
        (end_twice, "I6", {}),
        (bury_twice, "I6", {"failed": {"recipient_invalid": 2}}),
        (answer_strangely, "I7", {}),
        (answer_not_at_all, "I7", {}),
        (accept_the_unsent, "I7", {}),
        (refuse_without_a_time, "I7", {}),
        (answer_one_late, "I8", {}),
        (answer_slowly, "I8", {}),
        (leak, "I9", {}),
    ],
)
def test_each_broken_promise_is_named(
    breakage: Callable[[Ledgers], None], invariant: str, allowed: dict[str, object]
) -> None:
    led = kept()
    breakage(led)
    assert {violation.invariant for violation in check(led, bounds(**allowed))} == {invariant}


def test_what_the_broker_still_holds_is_late_but_not_lost() -> None:
    led = kept()
    leave_one(led)
    assert led.lost == 0


def test_a_double_within_its_bound_must_have_been_counted() -> None:
    led = kept()
    led.calls.append(call(1, at=103))
    [violation] = check(led, bounds(doubles=1))
    assert "counted" in violation.seen
    led.counted["ambiguous"] = 1
    assert check(led, bounds(doubles=1)) == []


def test_too_few_doubles_are_wrong_where_their_number_is_certain() -> None:
    [violation] = check(kept(), bounds(doubles_exactly=1))
    assert violation.invariant == "I3"


def test_two_sends_at_the_same_time_are_seen_unless_a_lease_could_run_out() -> None:
    led = kept()
    led.calls = [call(1, at=101, took=2), call(1, at=102)]
    led.counted["takeovers"] = 1
    assert [violation.invariant for violation in check(led, bounds(doubles=1))] == ["I4"]
    assert check(led, bounds(doubles=1, overlaps=True)) == []


def test_an_id_that_was_used_for_two_bodies_has_one_end_and_one_refusal() -> None:
    led = kept()
    led.failed.append(Entry(key(1), "request_id_reused", 0))
    assert check(led, bounds(failed={"recipient_invalid": 1, "request_id_reused": (0, 1)})) == []


def test_stored_although_503_was_answered_is_no_lie() -> None:
    led = kept()
    led.accepted.discard(key(1))
    assert check(led, bounds()) == []


def test_a_gateway_that_was_down_on_purpose_may_not_answer_what_was_under_way_then() -> None:
    led = kept()
    led.answers.append(Answer("POST /notifications", 0, 0.5, 99.0))
    assert check(led, bounds(gateway_down=[(99.4, 101.0)])) == []
    assert {violation.invariant for violation in check(led, bounds(gateway_down=[(99.6, 101.0)]))} == {"I7"}
