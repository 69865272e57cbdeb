from tests.support.fakes.breaker import Bench


def test_forced_open_admits_nobody_however_long(bench: Bench) -> None:
    bench.breaker.force("open")
    bench.clock.now += 1e6
    assert bench.breaker.permit() is None
    assert bench.state() == "open"
    assert bench.breaker.retry_in_s() == bench.breaker.policy.probe_s


def test_forced_closed_admits_everybody_whatever_happens(bench: Bench) -> None:
    bench.open()
    bench.breaker.force("closed")
    for _ in range(50):
        bench.call(fails=True)
    bench.permit().misconfigured()
    bench.breaker.pause(60)
    assert bench.state() == "closed"
    assert bench.breaker.permit() is not None


def test_after_forced_open_it_proves_itself_by_probes(bench: Bench) -> None:
    bench.breaker.force("open")
    bench.breaker.force(None)
    assert bench.breaker.permit() is not None
    assert bench.state() == "half_open"
    assert bench.breaker.permit() is None


def test_ending_a_forced_state_while_the_breaker_is_open_allows_a_probe_at_once(bench: Bench) -> None:
    bench.open()
    bench.breaker.force("open")
    bench.breaker.force(None)
    assert bench.breaker.retry_in_s() == 0
    assert bench.breaker.permit() is not None


def test_after_forced_closed_it_opens_by_itself_again(bench: Bench) -> None:
    bench.breaker.force("closed")
    bench.breaker.force(None)
    bench.open()


def test_repeating_an_order_changes_nothing(bench: Bench) -> None:
    for _ in range(4):
        bench.call(fails=True)
    bench.breaker.force(None)
    bench.call(fails=True)
    assert bench.state() == "open"
    bench.breaker.force("open")
    bench.breaker.force("open")
    assert bench.heard.moves == [("closed", "open")]


def test_results_from_before_the_force_do_not_count_after_it(bench: Bench) -> None:
    old = [bench.permit() for _ in range(10)]
    bench.breaker.force("closed")
    bench.breaker.force(None)
    for permit in old:
        permit.failure(0.1)
    assert bench.state() == "closed"


def test_failed_probes_before_it_was_last_closed_do_not_lengthen_a_stay_after_the_force(bench: Bench) -> None:
    bench.open()
    for _ in range(3):
        bench.clock.now += bench.breaker.retry_in_s()
        bench.call(fails=True)
    bench.clock.now += bench.breaker.retry_in_s()
    for _ in range(bench.breaker.policy.successes):
        bench.call(fails=False)
    assert bench.state() == "closed"
    bench.breaker.force("open")
    bench.breaker.force(None)
    bench.call(fails=True)
    assert bench.breaker.retry_in_s() == 2 * bench.breaker.policy.open_s
