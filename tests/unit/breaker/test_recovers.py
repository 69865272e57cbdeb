import pytest

from shared.settings.groups.breaker import BreakerPolicy
from tests.support.fakes.breaker import Bench


def fail_one_probe(bench: Bench) -> float:
    """Waits until a probe is admitted, fails it, and returns how long the breaker then stays open, in seconds."""
    bench.clock.now += bench.breaker.retry_in_s()
    bench.call(fails=True)
    return bench.breaker.retry_in_s()


def test_it_stays_open_for_thirty_seconds(bench: Bench) -> None:
    bench.open()
    bench.clock.now += 29.9
    assert bench.breaker.permit() is None
    assert bench.breaker.retry_in_s() == pytest.approx(0.1)
    bench.clock.now += 0.2
    assert bench.breaker.permit() is not None
    assert bench.state() == "half_open"


@pytest.mark.parametrize(("draw", "stay_s"), [(0.0, 24), (0.999999, 36)])
def test_the_stay_varies_by_a_fifth_either_way(draw: float, stay_s: float) -> None:
    bench = Bench(draw=draw)
    bench.open()
    assert bench.breaker.retry_in_s() == pytest.approx(stay_s, rel=1e-3)


def test_the_stay_doubles_to_five_minutes_while_probes_fail(bench: Bench) -> None:
    bench.open()
    assert [round(fail_one_probe(bench)) for _ in range(6)] == [60, 120, 240, 300, 300, 300]


def test_a_thousand_failed_probes_overflow_nothing(bench: Bench) -> None:
    bench.open()
    assert {fail_one_probe(bench) for _ in range(1_500)} >= {300.0}


def test_the_doubling_starts_anew_once_it_was_closed(bench: Bench) -> None:
    bench.open()
    fail_one_probe(bench)
    bench.clock.now += bench.breaker.retry_in_s()
    for _ in range(3):
        bench.call(fails=False)
    assert bench.state() == "closed"
    bench.open()
    assert bench.breaker.retry_in_s() == pytest.approx(30)


def test_three_successful_probes_close_it(due: Bench) -> None:
    for _ in range(2):
        due.call(fails=False)
        assert due.state() == "half_open"
    due.call(fails=False)
    assert due.state() == "closed"
    assert due.heard.moves == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_two_successes_and_a_failure_open_it_again(due: Bench) -> None:
    for fails in (False, False, True):
        due.call(fails=fails)
    assert due.state() == "open"


def test_one_probe_at_a_time(due: Bench) -> None:
    probe = due.permit()
    assert [due.breaker.permit() for _ in range(256)] == [None] * 256
    assert due.breaker.retry_in_s() == BreakerPolicy().probe_s
    probe.success(0.1)
    assert due.breaker.permit() is not None


def test_a_cancelled_probe_frees_its_place(due: Bench) -> None:
    due.permit().neither()
    assert due.breaker.permit() is not None
    assert due.state() == "half_open"


def test_a_late_cancellation_does_not_free_the_place_of_the_probe(bench: Bench) -> None:
    old = bench.permit()
    bench.open()
    bench.clock.now += 30
    assert bench.breaker.permit() is not None
    old.neither()
    assert bench.breaker.permit() is None


def test_after_closing_a_single_failure_is_no_reason(due: Bench) -> None:
    for _ in range(3):
        due.call(fails=False)
    for _ in range(4):
        due.call(fails=True)
    assert due.state() == "closed"


def test_what_opened_it_is_forgotten_once_it_was_closed() -> None:
    bench = Bench(draw=0)
    for number in range(20):
        bench.call(fails=number % 2 == 0)
    bench.clock.now += bench.breaker.retry_in_s()
    for _ in range(3):
        bench.call(fails=False)
    bench.call(fails=True)
    assert bench.state() == "closed"
