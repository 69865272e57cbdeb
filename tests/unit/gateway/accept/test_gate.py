"""Tests the gate before the broker, with a clock that the test moves: which requests are admitted or refused."""

import pytest

from gateway.accept.gate import Gate
from gateway.http.problem import Problem
from shared.errors import PublishFailed, PublishRejected, PublishUnknown, PublishUnroutable
from shared.message.channels import Lane
from tests.support.fakes.gateway import FakeDepths

PUSH, LOW, EMAIL = Lane("push", "medium"), Lane("push", "low"), Lane("email", "medium")
SILENCE = PublishUnknown("silence")


class World:
    """Builds a gate that lets three requests wait at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.depths = FakeDepths()
        self.gate = Gate(self.depths, queue_max_ready=10, max_waiting=3, clock=lambda: self.now)

    def is_admitted(self, *lanes: Lane, failure: PublishFailed | None = None) -> bool:
        """Tells whether a request with one notification for all ``lanes`` is admitted.

        If it is admitted, each of its messages ends with ``failure``.
        """
        with self.gate.admission() as admission:
            if admission.refusal(object(), lanes) is not None:
                return False
            for lane in lanes:
                admission.heard(lane, failure)
        return True

    def miss(self, *lanes: Lane) -> None:
        assert self.is_admitted(*lanes, failure=SILENCE)


@pytest.fixture
def world() -> World:
    return World()


def test_all_requests_are_admitted_while_answers_come(world: World) -> None:
    assert all(world.is_admitted(PUSH, EMAIL) for _ in range(100))


def test_one_missed_deadline_refuses_its_own_lane_and_no_other(world: World) -> None:
    world.miss(PUSH)
    assert not world.is_admitted(PUSH)
    assert not world.is_admitted(EMAIL, PUSH)
    assert world.is_admitted(LOW)
    assert world.is_admitted(EMAIL)


def test_a_refusal_names_the_lane_and_a_time(world: World) -> None:
    world.miss(PUSH)
    with world.gate.admission() as admission:
        problem = admission.refusal("admission", [PUSH])
    assert isinstance(problem, Problem)
    assert problem.status == 503
    assert "push.queue" in problem.detail
    assert int(problem.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("failure", [PublishRejected("full"), PublishUnroutable("no queue")])
def test_a_refused_or_returned_message_was_answered(world: World, failure: PublishFailed) -> None:
    assert world.is_admitted(PUSH, failure=failure)
    assert world.is_admitted(PUSH)
    assert not world.gate.silent


def test_one_group_of_requests_at_a_time_is_let_through_as_a_probe_after_a_second(world: World) -> None:
    world.miss(PUSH)
    world.now += 0.99
    assert not world.is_admitted(PUSH)
    world.now += 0.02
    with world.gate.admission() as probe:
        assert probe.refusal("probe", [PUSH]) is None
        # All that is published with it is let through too.
        assert probe.refusal("another", [PUSH]) is None
        assert not world.is_admitted(PUSH)
        probe.heard(PUSH, None)
    with world.gate.admission() as one, world.gate.admission() as two:
        assert one.refusal("one", [PUSH]) is two.refusal("two", [PUSH]) is None


def test_a_missed_probe_refuses_all_for_exactly_one_more_second(world: World) -> None:
    world.miss(PUSH)
    for _ in range(10):
        world.now += 1.01
        world.miss(PUSH)
        assert not world.is_admitted(PUSH)
    world.now += 1.01
    assert world.is_admitted(PUSH)


def test_a_probe_without_a_result_makes_room_for_the_next(world: World) -> None:
    world.miss(PUSH)
    world.now += 1.01
    with pytest.raises(RuntimeError), world.gate.admission() as probe:
        assert probe.refusal("probe", [PUSH]) is None
        raise RuntimeError("unforeseen")
    assert world.is_admitted(PUSH)


def test_a_permit_for_a_lane_that_was_not_used_is_given_back(world: World) -> None:
    world.miss(PUSH)
    world.miss(EMAIL)
    world.now += 1.01
    with world.gate.admission() as probe:
        assert probe.refusal("probe", [PUSH]) is None
        assert not world.is_admitted(EMAIL, PUSH)
        assert world.is_admitted(EMAIL)


def test_a_miss_from_before_the_lane_answered_again_is_old(world: World) -> None:
    with world.gate.admission() as straggler:
        assert straggler.refusal("straggler", [PUSH]) is None
        world.miss(PUSH)
        world.now += 1.01
        assert world.is_admitted(PUSH)
        world.now += 1
        straggler.heard(PUSH, SILENCE)
    assert world.is_admitted(PUSH)
    assert not world.gate.silent


def test_a_message_of_a_lane_that_misses_counts_more_than_those_that_were_answered(world: World) -> None:
    with world.gate.admission() as batch:
        assert batch.refusal("batch", [PUSH]) is None
        batch.heard(PUSH, None)
        batch.heard(PUSH, SILENCE)
    assert not world.is_admitted(PUSH)


def test_only_so_many_may_wait_at_once(world: World) -> None:
    with world.gate.admission() as group, world.gate.admission() as batch:
        assert group.refusal("one", [PUSH]) is group.refusal("two", [PUSH]) is None
        # All that one request brings takes one place.
        assert batch.refusal("three", [PUSH]) is batch.refusal("three", [EMAIL]) is None
        assert not world.is_admitted(EMAIL)
        assert group.refusal("four", [PUSH]) is not None
    with world.gate.admission() as group:
        assert [group.refusal(n, [PUSH]) is None for n in range(4)] == [True, True, True, False]


def test_a_request_refused_for_lack_of_a_place_changes_no_breaker(world: World) -> None:
    world.miss(PUSH)
    world.now += 1.01
    with world.gate.admission() as one, world.gate.admission() as two, world.gate.admission() as three:
        assert all(each.refusal("each", [EMAIL]) is None for each in (one, two, three))
        assert not world.is_admitted(PUSH)
    assert world.is_admitted(PUSH)


@pytest.mark.parametrize("ready", [10, 0, None])
def test_a_lane_at_its_limit_or_of_unknown_depth_is_open(world: World, ready: int | None) -> None:
    world.depths.depths[PUSH] = ready
    assert world.is_admitted(PUSH)


def test_a_lane_over_its_limit_is_closed_and_no_other(world: World) -> None:
    world.depths.depths[PUSH] = 11
    assert not world.is_admitted(PUSH)
    assert not world.is_admitted(EMAIL, PUSH)
    assert world.is_admitted(LOW)


def test_the_broker_is_silent_while_nothing_is_answered(world: World) -> None:
    assert not world.gate.silent
    world.miss(PUSH)
    assert world.gate.silent
    world.now += 0.5
    assert world.is_admitted(EMAIL)
    assert not world.gate.silent


def test_a_lane_that_is_silent_while_another_answers_does_not_make_the_broker_silent(world: World) -> None:
    with world.gate.admission() as stuck:
        assert stuck.refusal("stuck", [PUSH]) is None
        world.now += 4
        assert world.is_admitted(EMAIL)
        world.now += 1
        stuck.heard(PUSH, SILENCE)
    assert not world.gate.silent
    with world.gate.admission() as mixed:
        assert mixed.refusal("mixed", [LOW]) is mixed.refusal("mixed", [EMAIL]) is None
        mixed.heard(LOW, SILENCE)
        mixed.heard(EMAIL, None)
    assert not world.gate.silent


def test_silence_is_forgotten_after_a_while(world: World) -> None:
    world.miss(PUSH)
    world.now += 9
    world.miss(PUSH)
    world.now += 9
    assert world.gate.silent
    world.now += 1.5
    assert not world.gate.silent
