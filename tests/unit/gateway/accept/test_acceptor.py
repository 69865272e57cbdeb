"""Tests the acceptor: each document gets a verdict in time, is published, and is recorded only after the confirm."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from gateway.accept import acceptor as acceptor_module
from gateway.accept.acceptor import Accepted, Acceptor, Verdict
from gateway.accept.gate import Gate
from gateway.http.auth import ANONYMOUS
from gateway.http.problem import Problem
from shared.broker.publisher import Publication
from shared.errors import PublishFailed, PublishRejected, PublishUnknown, PublishUnroutable
from shared.message.channels import Lane
from shared.message.envelope import validate_envelope
from shared.message.headers import read_state
from tests.support.fakes.gateway import FakeBroker, FakeCounts, FakeDepths, FakeRecords, running
from tests.support.waiting import eventually


class World:
    """Builds an acceptor over stand-ins. Four requests may wait for the broker at once."""

    def __init__(self, publish_deadline_s: float = 5) -> None:
        self.journal: list[str] = []
        self.broker, self.records = FakeBroker(self.journal), FakeRecords(self.journal)
        self.depths, self.counts = FakeDepths(), FakeCounts()
        gate = Gate(self.depths, queue_max_ready=10, max_waiting=4)
        self.acceptor = Acceptor(self.records, gate, self.counts, publish_deadline_s=publish_deadline_s)
        self.callers = ThreadPoolExecutor(16)

    def accept(self, *documents: Any, client: str = "shop") -> list[Verdict]:
        return self.acceptor.accept(client, documents)

    def one(self, document: Any, client: str = "shop") -> Verdict:
        (verdict,) = self.accept(document, client=client)
        return verdict

    def refusal(self, document: Any) -> Problem:
        verdict = self.one(document)
        assert isinstance(verdict, Problem)
        return verdict

    def statuses(self, *documents: Any) -> list[int]:
        return [status(verdict) for verdict in self.accept(*documents)]

    def start(self, *documents: Any) -> Future[list[int]]:
        """Sends the documents in a thread of their own, and returns the future statuses."""
        return self.callers.submit(self.statuses, *documents)

    def has_submitted(self, requests: int) -> bool:
        """Tells whether exactly ``requests`` requests wait for a loop that does not run yet."""
        return len(self.acceptor._submitted) == requests


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with running(world.acceptor, world.broker):
        yield world
    world.callers.shutdown()


@pytest.fixture
def quick() -> Iterator[World]:
    """Makes a world whose publish deadline is half a second."""
    world = World(publish_deadline_s=0.5)
    with running(world.acceptor, world.broker):
        yield world
    world.callers.shutdown()


def push(request_id: str, **change: Any) -> dict[str, Any]:
    content = {"title": "t", "body": "b"}
    return {"request_id": request_id, "notification_type": "push", "user_id": "u", "content": content} | change


def other(request_id: str) -> dict[str, Any]:
    """Returns another notification with the same request_id."""
    return push(request_id, content={"title": "t", "body": "another"})


def both(request_id: str) -> dict[str, Any]:
    document = push(request_id, channels=["push", "email"])
    del document["notification_type"]
    return document


def status(verdict: Verdict) -> int:
    return verdict.status if isinstance(verdict, Problem) else 202


def test_each_document_gets_its_own_verdict_in_order(world: World) -> None:
    assert world.statuses(push("a"), 7, push("b", priority=11), push("c")) == [202, 422, 422, 202]
    assert [publication.correlation_id for publication in world.broker.published] == ["a", "c"]


def test_without_a_valid_item_neither_redis_nor_the_broker_is_asked(world: World) -> None:
    assert world.statuses(7) == [422]
    assert world.records.rounds == 0


def test_accepted_means_confirmed_and_then_recorded(world: World) -> None:
    assert world.one(push("a")) == Accepted("a", ["push"])
    assert world.journal == ["confirmed", "recorded"]
    assert list(world.records.digests) == [("shop", "a")]


@pytest.mark.parametrize("failure", [PublishUnknown, PublishRejected, PublishUnroutable])
def test_what_is_not_confirmed_is_503_and_not_recorded(world: World, failure: type[PublishFailed]) -> None:
    world.broker.fate = lambda _: failure("no")
    problem = world.refusal(push("a"))
    assert problem.status == 503
    assert int(problem.headers["Retry-After"]) >= 1
    assert world.records.digests == {}
    assert world.counts.lanes == []


def test_a_known_request_is_answered_without_publishing_again(world: World) -> None:
    world.one(push("a"))
    assert world.one(push("a")) == Accepted("a", ["push"], replayed=True)
    assert len(world.broker.published) == 1


def test_a_known_request_id_with_another_body_is_422(world: World) -> None:
    world.one(push("a"))
    problem = world.refusal(other("a"))
    assert (problem.status, problem.errors[0][0]) == (422, "request_id")
    assert len(world.broker.published) == 1


def test_clients_do_not_share_request_ids(world: World) -> None:
    world.one(push("a"))
    assert world.one(other("a"), client="bank") == Accepted("a", ["push"])
    assert [read_state(message.headers).client for message in world.broker.published] == ["shop", "bank"]


def test_without_keys_a_message_names_no_client(world: World) -> None:
    world.one(push("a"), client=ANONYMOUS)
    assert "notify-client" not in world.broker.published[0].headers


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"user_id": 7}, {"user_id": "7"}),
        ({"expires_at": "2099-01-01T02:00:00+02:00"}, {"expires_at": "2099-01-01T00:00:00Z"}),
        ({"metadata": {"n": 1}}, {"metadata": {"n": 1.0}}),
        ({"recipient": None}, {}),
    ],
    ids=str,
)
def test_another_form_of_the_same_request_is_the_same_request(
    first: dict[str, Any], again: dict[str, Any], world: World
) -> None:
    world.one(push("a", **first))
    assert world.one(push("a", **again)) == Accepted("a", ["push"], replayed=True)


def test_a_request_that_an_earlier_version_accepted_is_known(world: World) -> None:
    """Tests a form that its model wrote anew: its digest was over that."""
    document = push("a", expires_at="2099-01-01T02:00:00.5+02:00")
    written = validate_envelope(document, extra="forbid").body_for("push")
    world.records.digests["shop", "a"] = hashlib.sha256(written).hexdigest()[:32]
    assert world.one(document) == Accepted("a", ["push"], replayed=True)
    assert status(world.one(other("a"))) == 422


@pytest.mark.parametrize("confirmed", ["push", "email"])
def test_with_one_channel_unconfirmed_the_whole_notification_is_503(world: World, confirmed: str) -> None:
    def only_one(publication: Publication) -> PublishFailed | None:
        return None if publication.routing_key == confirmed else PublishRejected("full")

    world.broker.fate = only_one
    assert world.statuses(both("a")) == [503]
    assert world.records.digests == {}


def test_one_bad_item_does_not_sink_the_others(world: World) -> None:
    def fate(publication: Publication) -> PublishFailed | None:
        return PublishRejected("full") if publication.correlation_id == "b" else None

    world.broker.fate = fate
    assert world.statuses(push("a"), both("b"), push("c")) == [202, 503, 202]
    assert {request_id for _, request_id in world.records.digests} == {"a", "c"}


def test_what_comes_in_together_shares_one_look_up_and_one_publish() -> None:
    world = World()
    callers = [world.start(push(f"r{n}")) for n in range(4)]
    eventually(lambda: world.has_submitted(4))
    with running(world.acceptor, world.broker):
        assert [caller.result(5) for caller in callers] == [[202]] * 4
    assert world.records.rounds == 1
    assert [len(call) for call in world.broker.calls] == [4]


def test_a_lane_and_a_batch_that_wait_hold_up_nobody_who_came_with_them() -> None:
    world = World(publish_deadline_s=1.0)
    world.broker.held = {"sms.high"}
    sms = push("a", notification_type="sms", priority="high")
    waiting = [world.start(sms), world.start(push("b"), sms | {"request_id": "c"})]
    eventually(lambda: world.has_submitted(2))
    others = [world.start(push(f"r{n}")) for n in range(2)]
    eventually(lambda: world.has_submitted(4))
    with running(world.acceptor, world.broker):
        assert [caller.result(5) for caller in others] == [[202]] * 2
        assert not any(caller.done() for caller in waiting)
        assert [caller.result(5) for caller in waiting] == [[503], [202, 503]]


def test_who_has_little_time_left_does_not_cut_short_who_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(acceptor_module, "ANSWER_WITHIN_S", 1.0)
    early = world.start(push("early"))
    eventually(lambda: world.has_submitted(1))
    monkeypatch.setattr(acceptor_module, "ANSWER_WITHIN_S", 4.5)
    late = world.start(push("late"))
    eventually(lambda: world.has_submitted(2))
    with running(world.acceptor, world.broker):
        assert late.result(5) == [202]
    early.result(5)
    (deadline_s,) = world.broker.deadlines_s
    assert deadline_s is not None
    assert deadline_s > 2


def test_a_lane_that_never_confirms_holds_up_no_other_and_no_other_item_of_its_batch(quick: World) -> None:
    quick.broker.held = {"sms.high"}
    sms = push("a", notification_type="sms", priority="high")
    stuck = quick.start(sms, push("b"))
    eventually(lambda: quick.broker.published)
    assert quick.statuses(push("c"), push("d", notification_type="sms")) == [202, 202]
    assert not stuck.done()
    assert stuck.result(5) == [503, 202]
    assert quick.statuses(push("e"), sms) == [202, 503]
    assert len(quick.broker.published) == 5


def test_after_a_missed_deadline_the_next_request_is_refused_at_once(world: World) -> None:
    world.broker.fate = lambda _: PublishUnknown("silence")
    assert world.statuses(push("a")) == [503]
    assert world.statuses(push("b"), both("c")) == [503, 503]
    assert len(world.broker.published) == 1


def test_what_is_known_is_answered_while_its_lane_is_silent_or_full(world: World) -> None:
    assert world.statuses(push("a")) == [202]
    world.broker.fate = lambda _: PublishUnknown("silence")
    assert world.statuses(push("b")) == [503]
    world.depths.depths[Lane("push", "medium")] = 11
    assert world.one(push("a")) == Accepted("a", ["push"], replayed=True)


def test_only_max_waiting_requests_wait_for_the_broker(quick: World) -> None:
    quick.broker.held = {"push"}
    waiting = [quick.start(push(f"r{n}")) for n in range(4)]
    eventually(lambda: len(quick.broker.published) == 4)
    problem = quick.refusal(push("r4", notification_type="sms"))
    assert problem.status == 503
    assert [caller.result(5) for caller in waiting] == [[503]] * 4
    assert quick.statuses(push("r4", notification_type="sms")) == [202]


def test_publishing_may_take_what_is_left_of_the_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_module, "ANSWER_WITHIN_S", 4.0)
    assert world.statuses(push("a")) == [202]
    (deadline_s,) = world.broker.deadlines_s
    assert deadline_s is not None
    # One second is reserved for the record, and a little time for the answer.
    assert 1 < deadline_s <= 2.8


def test_publishing_takes_no_longer_than_its_own_deadline(quick: World) -> None:
    assert quick.statuses(push("a")) == [202]
    assert quick.broker.deadlines_s == [0.5]


def test_an_unforeseen_error_answers_500_and_the_next_request_is_served(world: World) -> None:
    world.records.explodes = True
    assert world.statuses(push("a"), 7) == [500, 422]
    world.records.explodes, world.broker.explodes = False, True
    assert [world.statuses(push("b"), push("c")) for _ in range(5)] == [[500, 500]] * 5
    world.broker.explodes = False
    # None of the five has kept one of the four waiting places, or its request_ids.
    assert world.statuses(push("a"), push("b")) == [202, 202]


def test_a_request_id_twice_in_a_batch_is_taken_once(world: World) -> None:
    assert world.statuses(push("a"), push("a"), push("b")) == [202, 409, 202]
    assert [publication.correlation_id for publication in world.broker.published] == ["a", "b"]


def test_a_copy_of_a_request_in_progress_is_409_with_a_time(quick: World) -> None:
    quick.broker.held = {"push"}
    first = quick.start(push("a"))
    eventually(lambda: quick.broker.published)
    problem = quick.refusal(push("a"))
    assert (problem.status, problem.headers["Retry-After"]) == (409, "1")
    assert quick.statuses(push("b", notification_type="email")) == [202]
    assert isinstance(quick.one(push("a", notification_type="email"), client="bank"), Accepted)
    assert not first.done()
    assert first.result(5) == [503]


def test_a_failed_request_may_be_sent_again(world: World) -> None:
    world.broker.fate = lambda _: PublishRejected("full")
    assert world.statuses(push("a")) == [503]
    world.broker.fate = lambda _: None
    assert world.one(push("a")) == Accepted("a", ["push"])


def test_a_lane_over_its_limit_is_503_and_others_are_not(world: World) -> None:
    world.depths.depths[Lane("push", "low")] = 11
    problem = world.refusal(push("a", priority="low"))
    assert (problem.status, problem.headers["Retry-After"]) == (503, "30")
    assert "push.low.queue" in problem.detail
    assert world.statuses(push("b"), push("c", priority=2)) == [202, 503]


def test_a_silent_loop_does_not_hold_the_request_indefinitely(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_module, "ANSWER_WITHIN_S", 0.5)
    assert world.statuses(push("known")) == [202]
    world.broker.hangs = True
    begun = time.monotonic()
    assert world.statuses(push("a"), 7, push("known")) == [503, 422, 202]
    assert time.monotonic() - begun < 0.5


def test_a_stop_answers_every_waiting_request() -> None:
    world = World()
    world.broker.hangs = True
    with running(world.acceptor, world.broker):
        waiting = world.start(push("a"))
        eventually(lambda: world.broker.published)
        begun = time.monotonic()
    assert waiting.result(1) == [503]
    assert time.monotonic() - begun < 1


def test_accepted_messages_are_counted_by_lane_and_replayed_ones_are_not(world: World) -> None:
    world.statuses(push("a", priority="high"), push("a"), push("b", notification_type="sms"), 7)
    world.statuses(push("b", notification_type="sms"))
    assert sorted(world.counts.lanes, key=str) == [Lane("push", "high"), Lane("sms", "medium")]
