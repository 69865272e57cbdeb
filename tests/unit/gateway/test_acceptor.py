"""Accepting, as the routes see it: documents in, a verdict each, in time."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.accept import acceptor as acceptor_module
from gateway.accept.acceptor import Acceptor
from gateway.accept.intake import Intake
from gateway.accept.probe_gate import ProbeGate
from gateway.accept.verdict import Accepted
from gateway.http.problem import Problem
from shared.message.channels import Lane
from tests.support.gateway_fakes import FakeBroker, FakeCounts, FakeDepths, FakeRecords, running
from tests.support.waiting import eventually


class World:
    def __init__(self) -> None:
        self.broker, self.records = FakeBroker(), FakeRecords()
        self.depths, self.counts = FakeDepths(), FakeCounts()
        self.intake = Intake(self.records, ProbeGate(time.monotonic, max_waiting=100), publish_deadline_s=5)
        self.acceptor = Acceptor(self.intake, self.depths, self.counts, queue_max_ready=10, clock=time.monotonic)

    def statuses(self, *documents: Any) -> list[int]:
        verdicts = self.acceptor.accept("shop", documents)
        return [verdict.status if isinstance(verdict, Problem) else 202 for verdict in verdicts]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with running(world.intake, world.broker):
        yield world


def push(request_id: str, **change: Any) -> dict[str, Any]:
    content = {"title": "t", "body": "b"}
    return {"request_id": request_id, "notification_type": "push", "user_id": "u", "content": content} | change


def test_each_document_gets_its_own_verdict_in_order(world: World) -> None:
    assert world.statuses(push("a"), 7, push("b", priority=11), push("c")) == [202, 422, 422, 202]
    assert [publication.correlation_id for publication in world.broker.published] == ["a", "c"]


def test_nothing_valid_asks_nobody(world: World) -> None:
    assert world.statuses(7) == [422]
    assert world.records.rounds == 0


def test_a_request_id_twice_in_a_batch_is_taken_once(world: World) -> None:
    assert world.statuses(push("a"), push("a"), push("b")) == [202, 409, 202]
    assert [publication.correlation_id for publication in world.broker.published] == ["a", "b"]


def test_a_copy_of_what_is_being_worked_on_is_409_with_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_module, "ANSWER_WITHIN_S", 1.0)
    world.broker.held = {"push"}
    first = threading.Thread(target=world.acceptor.accept, args=("shop", [push("a")]), daemon=True)
    first.start()
    eventually(lambda: world.broker.published)
    (problem,) = world.acceptor.accept("shop", [push("a")])
    assert isinstance(problem, Problem)
    assert (problem.status, problem.headers["Retry-After"]) == (409, "1")
    assert world.statuses(push("b", notification_type="email")) == [202]
    (theirs,) = world.acceptor.accept("bank", [push("a", notification_type="email")])
    assert isinstance(theirs, Accepted)
    first.join()


def test_afterwards_the_same_request_is_welcome(world: World) -> None:
    assert world.statuses(push("a")) == [202]
    (again,) = world.acceptor.accept("shop", [push("a")])
    assert isinstance(again, Accepted)
    assert again.replayed


def test_a_lane_over_its_limit_is_503_and_others_are_not(world: World) -> None:
    world.depths.depths[Lane("push", "low")] = 11
    (problem,) = world.acceptor.accept("shop", [push("a", priority="low")])
    assert isinstance(problem, Problem)
    assert problem.status == 503
    assert "push.low.queue" in problem.detail
    assert int(problem.headers["Retry-After"]) >= 1
    assert world.statuses(push("b"), push("c", priority=2)) == [202, 503]


def test_a_lane_at_its_limit_or_of_unknown_depth_is_open(world: World) -> None:
    world.depths.depths = {Lane("push", "low"): 10, Lane("push", "high"): None}
    assert world.statuses(push("a", priority="low"), push("b", priority="high")) == [202, 202]


def test_a_loop_that_says_nothing_does_not_hold_the_request_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor_module, "ANSWER_WITHIN_S", 0.5)
    world.broker.held = {"push"}
    begun = time.monotonic()
    assert world.statuses(push("a"), push("b", notification_type="sms")) == [503, 202]
    assert time.monotonic() - begun < 0.5


def test_what_was_accepted_now_is_counted_by_lane_and_what_was_replayed_is_not(world: World) -> None:
    world.statuses(push("a", priority="high"), push("a"), push("b", notification_type="sms"), 7)
    world.statuses(push("b", notification_type="sms"))
    assert sorted(world.counts.lanes, key=str) == [Lane("push", "high"), Lane("sms", "medium")]
