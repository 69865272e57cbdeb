"""Tests that the rules about devices see every broken promise: each ledger here breaks one, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.faults.devices.record import DeviceRecord, End, Life, Made
from tests.faults.devices.rules import longest_lag_s
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.checker import check
from tests.faults.ledger.ledgers import Call, Ledgers

EPOCH = "0a1b2c3d"
#: what one user was sent: three changes
CHANGES = [Made("ann", EPOCH, offset, 100.0 + offset) for offset in (1, 2, 3)]
KEY = ("websocket", "id-1")


def following(*, since: float = 100.0, start: int = 0, until: float | None = 110.0, lag_s: float = 0.1) -> Life:
    """Returns a life that shows each change so much later."""
    reached = [(made.offset, made.at + lag_s) for made in CHANGES if made.offset > start]
    return Life(EPOCH, start, since, reached, until)


def kept() -> Ledgers:
    """Returns ledgers of one notification and two devices, of which one was cut and has resumed."""
    cut = Life(EPOCH, 0, 100.0, [(1, 101.1)], 101.5)
    resumed = following(since=102.5, start=2)
    return Ledgers(
        accepted={KEY},
        attempted={KEY},
        calls=[Call(KEY, "ann", "inbox", 101.0, 101.0)],
        devices=[
            DeviceRecord("ann/0", "ann", [following()]),
            DeviceRecord("ann/1", "ann", [cut, resumed], [End(1006, 101.5)]),
        ],
        changes=CHANGES,
        counted=Counter(),
        healed_at=100.0,
        drained_at=101.0,
    )


def bounds() -> Bounds:
    return Bounds(stale_s=1.0, ends={1006: 1})


def broken(change: Callable[[Ledgers], object]) -> set[str]:
    """Returns the invariants that are broken after the change."""
    led = kept()
    change(led)
    return {violation.invariant for violation in check(led, bounds())}


def test_promises_that_were_kept_are_not_complained_about() -> None:
    assert check(kept(), bounds()) == []
    assert longest_lag_s(kept()) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("invariant", "change"),
    [
        pytest.param("I1", lambda led: led.calls.clear(), id="accepted, and in no inbox"),
        pytest.param("I3", lambda led: led.calls.append(led.calls[0]), id="two rows for one notification"),
        pytest.param("I10", lambda led: led.devices[0].differences.append("it lacks 1 rows"), id="a hole"),
        pytest.param("I10", lambda led: led.devices[1].gaps.append("2 to 4 at 1"), id="a frame that does not follow"),
        pytest.param("I10", lambda led: led.inbox_faults.append("ann"), id="wrong counters in the store"),
        pytest.param("I11", lambda led: led.devices[0].doubles.append("2 came at 2"), id="a change that came twice"),
        pytest.param("I12", lambda led: led.devices[0].lives.append(following(lag_s=1.2)), id="shown late"),
        pytest.param("I12", lambda led: led.devices[0].lives[0].reached.pop(), id="never shown"),
        pytest.param("I12", lambda led: led.devices[1].lives[1].reached.clear(), id="never shown after a resume"),
        pytest.param("I13", lambda led: led.devices[0].ends.append(End(1006, 105.0)), id="one cut too many"),
        pytest.param("I13", lambda led: led.devices[0].ends.append(End(4505, 105.0)), id="evicted"),
        pytest.param("I13", lambda led: setattr(led.devices[0], "resets", 1), id="told to start anew"),
    ],
)
def test_each_broken_promise_is_named(invariant: str, change: Callable[[Ledgers], object]) -> None:
    assert broken(change) == {invariant}


def test_a_device_that_was_not_connected_is_not_late() -> None:
    made = Made("ann", EPOCH, 2, 102.0)
    assert Life(EPOCH, 0, 100.0, [(1, 101.1)], 101.5).lag_s(made) is None
    assert Life(EPOCH, 2, 102.5, [], 110.0).lag_s(made) is None
    assert Life("another", 0, 100.0, [], 110.0).lag_s(made) is None


def test_a_change_that_was_made_before_the_device_came_counts_from_its_coming() -> None:
    assert Life(EPOCH, 1, 105.0, [(2, 105.5)], None).lag_s(Made("ann", EPOCH, 2, 102.0)) == 0.5


def test_a_later_change_that_is_shown_stands_for_those_before_it() -> None:
    assert Life(EPOCH, 0, 100.0, [(3, 104.0)], None).lag_s(Made("ann", EPOCH, 2, 102.0)) == 2.0


def test_what_the_harness_itself_was_held_up_is_not_held_against_a_node() -> None:
    led = kept()
    led.devices[0].lives[0] = following(lag_s=1.2)
    assert [str(violation)[:3] for violation in check(led, bounds())] == ["I12"]
    led.stalled_s = 0.3
    assert check(led, bounds()) == []


@pytest.mark.parametrize("after_ms", [None, 4_999, 15_001])
def test_a_device_that_is_sent_away_must_be_told_when_to_come_back(after_ms: int | None) -> None:
    led = kept()
    led.devices[0].ends.append(End(1013, 105.0, after_ms))
    allowed = Bounds(ends={1006: 1, 1013: 1})
    assert [violation.invariant for violation in check(led, allowed)] == ["I13"]
    led.devices[0].ends[-1] = End(1013, 105.0, 5_000)
    assert check(led, allowed) == []


def test_starting_anew_is_allowed_as_often_as_the_scenario_says() -> None:
    led = kept()
    led.devices[0].resets = 1
    assert check(led, Bounds(ends={1006: 1}, resets=1)) == []
