import pytest

from tests.support.fakes.breaker import Bench


def throttle(bench: Bench, target: str, retry_after_s: float | None = 7, *, whole_provider: bool = False) -> None:
    bench.permit().throttled(target, retry_after_s, whole_provider=whole_provider)


def test_a_pause_gives_no_permits_until_it_is_over(bench: Bench) -> None:
    bench.breaker.pause(7)
    assert bench.breaker.permit() is None
    assert bench.breaker.retry_in_s() == pytest.approx(7)
    bench.clock.now += 7
    assert bench.breaker.permit() is not None
    assert bench.breaker.retry_in_s() == 0


def test_a_shorter_pause_does_not_cut_a_longer_one(bench: Bench) -> None:
    bench.breaker.pause(60)
    bench.breaker.pause(1)
    assert bench.breaker.retry_in_s() == pytest.approx(60)


def test_a_pause_is_no_failure_and_is_told_once(bench: Bench) -> None:
    permits = [bench.permit() for _ in range(256)]
    for permit in permits:
        bench.clock.now += 0.001
        permit.throttled("anyone", 3, whole_provider=True)
    assert bench.state() == "closed"
    assert bench.heard.moves == []
    assert bench.heard.pauses == [3]


def test_the_whole_projects_quota_pauses_at_once(bench: Bench) -> None:
    throttle(bench, "a", whole_provider=True)
    assert bench.breaker.retry_in_s() == pytest.approx(7)


def test_one_throttled_recipient_does_not_pause_the_others(bench: Bench) -> None:
    for _ in range(50):
        throttle(bench, "a")
    assert bench.breaker.permit() is not None


def test_three_different_recipients_in_a_row_pause_the_provider(bench: Bench) -> None:
    throttle(bench, "a")
    throttle(bench, "b")
    assert bench.breaker.retry_in_s() == 0
    throttle(bench, "c")
    assert bench.breaker.retry_in_s() == pytest.approx(7)


def test_a_success_between_throttled_recipients_starts_the_row_anew(bench: Bench) -> None:
    for target in "abcdef":
        throttle(bench, target)
        bench.call(fails=False)
    assert bench.breaker.retry_in_s() == 0


@pytest.mark.parametrize(("named_s", "pause_s"), [(None, 0), (0, 1), (-5, 1), (90_000, 3_600), (float("nan"), 1)])
def test_what_the_provider_names_is_kept_within_reason(bench: Bench, named_s: float | None, pause_s: float) -> None:
    throttle(bench, "a", named_s, whole_provider=True)
    assert bench.breaker.retry_in_s() == pytest.approx(pause_s)


def test_a_throttled_probe_frees_its_place_after_the_pause(due: Bench) -> None:
    throttle(due, "a", 5, whole_provider=True)
    assert due.breaker.permit() is None
    due.clock.now += 5
    assert due.breaker.permit() is not None
    assert due.state() == "half_open"
