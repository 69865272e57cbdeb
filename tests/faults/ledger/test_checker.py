"""Tests that the checker sees every broken promise: each ledger here breaks one, and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.checker import check
from tests.faults.ledger.ledgers import Answer, Call, Entry, Key, Ledgers, Resources

HEALED = 100.0
POST = "POST /notifications"


def key(number: int) -> Key:
    return "push", f"id-{number}"


def call(number: int, at: float = 101.0, took: float | None = 0.1) -> Call:
    return Call(key(number), f"token-{number}", "fcm", at, None if took is None else at + took)


ALL = frozenset({key(1), key(2), key(3)})
DEAD = Entry(key(3), "recipient_invalid", 1)
ANSWERS = [Answer(POST, 202, 0.01, 99.0)] * 100
#: one message more was accepted
LOST = {"accepted": ALL | {key(9)}, "attempted": ALL | {key(9)}}
LEFT: dict[str, Any] = {**LOST, "held": Counter({"push.queue": 1})}
MUCH, MORE = {"fds": 50, "threads": 4, "memory_mb": 80}, {"fds": 56, "threads": 4, "memory_mb": 80}


def kept(**changes: Any) -> Ledgers:
    """Returns ledgers of three messages: delivered, skipped, dead-lettered. ``changes`` replace parts of them."""
    ledgers = Ledgers(
        accepted=set(ALL),
        attempted=set(ALL),
        calls=[call(1)],
        skipped={key(2)},
        failed=[DEAD],
        tries=Counter({key(1): 1, key(3): 1}),
        answers=ANSWERS,
        resources=[Resources("push-0", {"fds": 20}, {"fds": 20})],
        healed_at=HEALED,
        drained_at=HEALED + 5,
    )
    return replace(ledgers, **changes)


def answered(status: int, seconds: float = 0.01, retry_after: str | None = None, what: str = POST) -> dict[str, Any]:
    return {"answers": [*ANSWERS, Answer(what, status, seconds, 99.0, retry_after)]}


def bounds(**changes: Any) -> Bounds:
    return Bounds(**{"failed": {"recipient_invalid": 1}, "p99_s": 0.5, **changes})


def broken(led: Ledgers, **allowed: Any) -> set[str]:
    return {violation.invariant for violation in check(led, bounds(**allowed))}


def test_promises_that_were_kept_are_not_complained_about() -> None:
    assert check(kept(), bounds()) == []


@pytest.mark.parametrize(
    ("invariant", "changes"),
    [
        pytest.param("I1", LOST, id="lost"),
        pytest.param("I1", LEFT, id="left in a queue"),
        pytest.param("I2", {"calls": [call(1), call(8)]}, id="never posted"),
        pytest.param("I3", {"calls": [call(1), call(1, at=103)], "counted": Counter(takeovers=1)}, id="sent twice"),
        pytest.param("I5", {"drained_at": None}, id="never drained"),
        pytest.param("I5", {"calls": [call(1, at=HEALED + 31)]}, id="delivered late"),
        pytest.param("I6", {"failed": [Entry(key(3), "recipient_invalid", 2)]}, id="retried although hopeless"),
        pytest.param("I6", {"tries": Counter({key(1): 9, key(3): 1})}, id="tried too often"),
        pytest.param("I6", {"failed": [DEAD, Entry(None, "invalid_json", 0)]}, id="failed for another reason"),
        pytest.param("I6", {"skipped": {key(1), key(2)}}, id="two ends"),
        pytest.param("I7", answered(500), id="a strange answer"),
        pytest.param("I7", answered(0, what="GET /health"), id="no answer"),
        pytest.param("I7", {"attempted": ALL - {key(2)}}, id="accepted without being sent"),
        pytest.param("I7", answered(503, 0.1), id="refused without a time to wait"),
        pytest.param("I8", answered(503, 8.1, "1"), id="one late answer"),
        pytest.param("I8", {"answers": ANSWERS + [Answer(POST, 202, 0.6, 99.0)] * 3}, id="slow answers"),
        pytest.param("I9", {"resources": [Resources("push-0", MUCH, MORE)]}, id="a leak"),
    ],
)
def test_each_broken_promise_is_named(invariant: str, changes: dict[str, Any]) -> None:
    assert broken(kept(**changes)) == {invariant}


def test_a_message_that_is_dead_lettered_twice_breaks_a_promise() -> None:
    assert broken(kept(failed=[DEAD, DEAD]), failed={"recipient_invalid": 2}) == {"I6"}


def test_what_the_broker_still_holds_is_late_but_not_lost() -> None:
    assert (kept(**LOST).lost, kept(**LEFT).lost) == (1, 0)


def test_a_double_within_its_bound_must_have_been_counted() -> None:
    led = kept(calls=[call(1), call(1, at=103)])
    [violation] = check(led, bounds(doubles=1))
    assert "counted" in violation.seen
    led.counted["ambiguous"] = 1
    assert check(led, bounds(doubles=1)) == []


def test_too_few_doubles_are_wrong_where_their_number_is_certain() -> None:
    assert broken(kept(), doubles_exactly=1) == {"I3"}


def test_two_sends_at_the_same_time_are_seen_unless_a_lease_could_run_out() -> None:
    led = kept(calls=[call(1, at=101, took=2), call(1, at=102)], counted=Counter(takeovers=1))
    assert broken(led, doubles=1) == {"I4"}
    assert broken(led, doubles=1, overlaps=True) == set()


def test_an_id_that_was_used_for_two_bodies_has_one_end_and_one_refusal() -> None:
    led = kept(failed=[DEAD, Entry(key(1), "request_id_reused", 0)])
    assert broken(led, failed={"recipient_invalid": 1, "request_id_reused": (0, 1)}) == set()


def test_stored_although_503_was_answered_is_no_lie() -> None:
    assert broken(kept(accepted=ALL - {key(1)})) == set()


def test_a_gateway_that_was_down_on_purpose_may_not_answer_what_was_under_way_then() -> None:
    led = kept(**answered(0, 0.5))
    assert broken(led, gateway_down=[(99.4, 101.0)]) == set()
    assert broken(led, gateway_down=[(99.6, 101.0)]) == {"I7"}
