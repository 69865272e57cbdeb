import pytest

from shared.breaker.report import State
from shared.settings.groups.breaker import BreakerPolicy
from tests.support.fakes.breaker import Bench


def test_five_failures_in_a_row_open_it(bench: Bench) -> None:
    for _ in range(4):
        bench.call(fails=True)
    assert bench.state() == "closed"
    bench.call(fails=True)
    assert bench.state() == "open"
    assert bench.breaker.permit() is None
    assert bench.heard.reasons == ["5 failures in a row"]


@pytest.mark.parametrize(
    "fails",
    [
        pytest.param([*[True] * 4, False, *[True] * 4], id="a success starts the row anew"),
        pytest.param([number % 3 == 0 for number in range(300)], id="less than half fail"),
    ],
)
def test_failures_that_are_too_few_leave_it_closed(bench: Bench, fails: list[bool]) -> None:
    for each in fails:
        bench.call(fails=each)
    assert bench.state() == "closed"


def test_half_of_twenty_calls_failing_opens_it_although_never_five_in_a_row(bench: Bench) -> None:
    for number in range(20):
        assert bench.state() == "closed", number
        bench.call(fails=number % 2 == 0)
    assert bench.state() == "open"
    assert bench.heard.reasons == ["10 of 20 calls failed within 30 s"]


@pytest.mark.parametrize(("later_s", "state"), [(28, "open"), (31, "closed")])
def test_failures_older_than_the_window_are_forgotten(bench: Bench, later_s: float, state: State) -> None:
    for number in range(18):
        bench.call(fails=number % 2 == 0)
    bench.clock.now += later_s
    bench.call(fails=True)
    bench.call(fails=False)
    assert bench.state() == state


def test_eighty_percent_slower_than_five_seconds_opens_it_although_all_succeed(bench: Bench) -> None:
    for number in range(20):
        bench.call(fails=False, duration_s=0.1 if number < 4 else 5.1)
    assert bench.state() == "open"
    assert bench.heard.reasons == ["16 of 20 calls slower than 5 s within 30 s"]


def test_five_seconds_is_not_slower_than_five_seconds(bench: Bench) -> None:
    for _ in range(40):
        bench.call(fails=False, duration_s=5.0)
    assert bench.state() == "closed"


def test_refused_credentials_open_it_at_once(bench: Bench) -> None:
    bench.permit().misconfigured()
    assert bench.state() == "open"
    assert bench.heard.reasons == ["credentials refused"]


def test_the_result_neither_does_not_count_and_does_not_break_a_row(bench: Bench) -> None:
    for _ in range(4):
        bench.call(fails=True)
    for _ in range(100):
        bench.permit().neither()
    assert bench.state() == "closed"
    bench.call(fails=True)
    assert bench.state() == "open"


def test_a_cancelled_call_counts_as_neither(bench: Bench) -> None:
    for _ in range(6):
        permit = bench.permit()
        with pytest.raises(KeyboardInterrupt), permit:
            raise KeyboardInterrupt
    assert bench.state() == "closed"


def test_only_the_first_result_of_a_permit_counts(bench: Bench) -> None:
    permit = bench.permit()
    for _ in range(5):
        permit.failure(0.1)
    assert bench.state() == "closed"


def test_256_failures_in_flight_make_one_transition_and_do_not_lengthen_it(bench: Bench) -> None:
    permits = [bench.permit() for _ in range(256)]
    for permit in permits[:5]:
        permit.failure(0.1)
    wait_s = bench.breaker.retry_in_s()
    bench.clock.now += 10
    for permit in permits[5:]:
        permit.failure(10.0)
    assert bench.heard.moves == [("closed", "open")]
    assert bench.breaker.retry_in_s() == pytest.approx(wait_s - 10)


def test_late_results_of_the_old_time_neither_close_nor_reopen_it() -> None:
    bench = Bench(BreakerPolicy(successes=1))
    early, late = bench.permit(), bench.permit()
    bench.open()
    bench.clock.now += 31
    probe = bench.permit()
    early.success(31)
    assert bench.state() == "half_open"
    late.misconfigured()
    assert bench.state() == "half_open"
    probe.success(0.1)
    assert bench.state() == "closed"


def test_a_listener_that_raises_does_not_keep_it_closed() -> None:
    bench = Bench(BreakerPolicy(failures=1))

    def broken(name: str, old: State, new: State, why: str) -> None:
        raise BrokenPipeError

    bench.heard.changed = broken  # type: ignore[method-assign]
    with pytest.raises(BrokenPipeError):
        bench.call(fails=True)
    assert bench.state() == "open"
    assert bench.breaker.permit() is None
