"""The intake: what goes to the broker, what is recorded when, and who waits for whom."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.accept.candidate import candidate_from
from gateway.accept.intake import Intake
from gateway.accept.job import Job
from gateway.accept.pipeline import MOST_UNDER_WAY
from gateway.accept.probe_gate import ProbeGate
from gateway.accept.verdict import Accepted
from gateway.http.problem import Problem
from shared.broker.publisher import Publication
from shared.errors import PublishFailed, PublishRejected, PublishUnknown, PublishUnroutable
from tests.support.gateway_fakes import FakeBroker, FakeRecords
from tests.support.waiting import eventually_async

NEVER = 1e12


class World:
    def __init__(self) -> None:
        self.journal: list[str] = []
        self.broker = FakeBroker(self.journal)
        self.records = FakeRecords(self.journal)
        self.gate = ProbeGate(time.monotonic, max_waiting=4, probe_every_s=3600)
        self.intake = Intake(self.records, self.gate, publish_deadline_s=5)

    async def settled(self, *jobs: Job) -> None:
        for job in jobs:
            self.intake.submit(job)
        await eventually_async(lambda: all(None not in job.verdicts for job in jobs))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(world.intake.run(world.broker))
    yield world
    task.cancel()
    await asyncio.wait([task])


def job(*request_ids: str, channel: str = "push", body: str = "b", until: float = NEVER, **more: Any) -> Job:
    return Job("shop", [_candidate(name, channel, body, more) for name in request_ids], until)


def _candidate(request_id: str, channel: str, body: str, more: dict[str, Any]) -> Any:
    content = {"title": "t", "body": body}
    document = {"request_id": request_id, "notification_type": channel, "user_id": "u", "content": content}
    return candidate_from(document | more)


def status(verdict: object) -> int:
    return verdict.status if isinstance(verdict, Problem) else 202


async def test_accepted_means_confirmed_and_then_recorded(world: World) -> None:
    one = job("a")
    await world.settled(one)
    assert one.verdicts == [Accepted("a", ["push"])]
    assert world.journal == ["confirmed", "recorded"]
    assert world.records.digests == {("shop", "a"): one.candidates[0].digest}


@pytest.mark.parametrize("failure", [PublishUnknown, PublishRejected, PublishUnroutable])
async def test_what_is_not_confirmed_is_503_and_not_recorded(world: World, failure: type[PublishFailed]) -> None:
    world.broker.fate = lambda _: failure("no")
    one = job("a")
    await world.settled(one)
    (problem,) = one.verdicts
    assert isinstance(problem, Problem)
    assert problem.status == 503
    assert int(problem.headers["Retry-After"]) >= 1
    assert world.records.digests == {}


async def test_a_known_request_is_answered_without_publishing_again(world: World) -> None:
    await world.settled(job("a"))
    again = job("a")
    await world.settled(again)
    assert again.verdicts == [Accepted("a", ["push"], replayed=True)]
    assert len(world.broker.published) == 1


async def test_a_known_request_id_with_another_body_is_422(world: World) -> None:
    await world.settled(job("a"))
    other = job("a", body="c")
    await world.settled(other)
    assert status(other.verdicts[0]) == 422
    assert len(world.broker.published) == 1


async def test_clients_do_not_share_request_ids(world: World) -> None:
    mine = job("a")
    theirs = Job("bank", job("a", body="c").candidates, NEVER)
    await world.settled(mine)
    await world.settled(theirs)
    assert theirs.verdicts == [Accepted("a", ["push"])]


async def test_with_one_channel_unconfirmed_the_whole_notification_is_503(world: World) -> None:
    def only_push(publication: Publication) -> PublishFailed | None:
        return None if publication.routing_key == "push" else PublishRejected("full")

    world.broker.fate = only_push
    content = {"title": "t", "body": "b"}
    both = Job(
        "shop",
        [candidate_from({"request_id": "a", "channels": ["push", "email"], "user_id": "u", "content": content})],
        NEVER,
    )
    await world.settled(both)
    assert status(both.verdicts[0]) == 503
    assert world.records.digests == {}


async def test_one_bad_item_does_not_sink_the_others(world: World) -> None:
    def fate(publication: Publication) -> PublishFailed | None:
        return PublishRejected("full") if publication.correlation_id == "b" else None

    world.broker.fate = fate
    batch = job("a", "b", "c")
    await world.settled(batch)
    assert [status(verdict) for verdict in batch.verdicts] == [202, 503, 202]
    assert {key for _, key in world.records.digests} == {"a", "c"}


async def test_what_comes_in_together_shares_one_look_up_and_one_publish(world: World) -> None:
    await world.settled(*(job(f"r{n}") for n in range(4)))
    assert world.records.rounds == 1
    assert len(world.broker.calls) == 1


async def test_a_lane_that_never_confirms_holds_up_no_other(world: World) -> None:
    world.broker.held = {"sms.high"}
    stuck = job("a", channel="sms", priority="high")
    world.intake.submit(stuck)
    await world.settled(job("b"), job("c", channel="sms"))
    assert stuck.verdicts == [None]


async def test_a_single_request_does_not_wait_for_a_batch(world: World) -> None:
    await world.settled(job("a", "b"), job("c"))
    assert sorted(len(call) for call in world.broker.calls) == [1, 2]


async def test_what_comes_while_enough_groups_of_a_lane_are_under_way_gathers_for_the_next() -> None:
    world = World()
    world.gate = ProbeGate(time.monotonic, max_waiting=100)
    world.intake = Intake(world.records, world.gate, publish_deadline_s=5)
    task = asyncio.create_task(world.intake.run(world.broker))
    hold = world.broker.hold("push")
    jobs = []
    for n in range(8):
        jobs.append(job(f"r{n}"))
        world.intake.submit(jobs[-1])
        await eventually_async(lambda n=n: world.records.rounds == n + 1)  # type: ignore[misc]
    await eventually_async(lambda: len(world.broker.calls) == MOST_UNDER_WAY)
    hold.set()
    await eventually_async(lambda: all(None not in each.verdicts for each in jobs))
    assert [len(call) for call in world.broker.calls] == [1] * MOST_UNDER_WAY + [8 - MOST_UNDER_WAY]
    task.cancel()
    await asyncio.wait([task])


async def test_silence_shuts_the_gate_for_what_follows(world: World) -> None:
    world.broker.fate = lambda _: PublishUnknown("silence")
    await world.settled(job("a"))
    assert world.gate.shut
    after = job("b")
    await world.settled(after)
    assert status(after.verdicts[0]) == 503
    assert len(world.broker.published) == 1


async def test_what_is_known_is_answered_while_the_gate_is_shut(world: World) -> None:
    await world.settled(job("a"))
    world.broker.fate = lambda _: PublishUnknown("silence")
    await world.settled(job("b"))
    again = job("a")
    await world.settled(again)
    assert again.verdicts == [Accepted("a", ["push"], replayed=True)]


@pytest.mark.parametrize("failure", [PublishRejected, PublishUnroutable])
async def test_a_refusal_is_an_answer_and_shuts_nothing(world: World, failure: type[PublishFailed]) -> None:
    world.broker.fate = lambda _: failure("no")
    await world.settled(job("a"))
    assert not world.gate.shut


async def test_only_so_many_wait_for_the_broker(world: World) -> None:
    world.broker.held = {"push"}
    for n in range(4):
        world.intake.submit(job(f"r{n}"))
    await eventually_async(lambda: len(world.broker.published) == 4)
    fifth = job("r4", channel="sms")
    await world.settled(fifth)
    assert status(fifth.verdicts[0]) == 503


async def test_the_deadline_is_what_is_left_of_the_request(world: World) -> None:
    await world.settled(job("a", until=time.monotonic() + 2))
    (deadline_s,) = world.broker.deadlines_s
    assert deadline_s is not None
    assert 1 < deadline_s <= 2
    await world.settled(job("b"))
    assert world.broker.deadlines_s[-1] == 5


async def test_who_has_little_time_left_does_not_cut_short_who_came_later(world: World) -> None:
    await world.settled(job("early", until=time.monotonic() + 0.1), job("late", until=time.monotonic() + 3))
    (deadline_s,) = world.broker.deadlines_s
    assert deadline_s is not None
    assert deadline_s > 2


async def test_an_unforeseen_error_answers_500_and_the_next_request_is_served(world: World) -> None:
    world.records.explodes = True
    one = job("a")
    await world.settled(one)
    world.records.explodes, world.broker.explodes = False, True
    two = job("b", "c")
    await world.settled(two)
    world.broker.explodes = False
    three = job("d")
    await world.settled(three)
    assert [status(v) for v in (*one.verdicts, *two.verdicts, *three.verdicts)] == [500, 500, 500, 202]
    assert world.gate.admit() not in ("full", "shut")


async def test_what_was_submitted_before_the_loop_ran_is_served() -> None:
    world = World()
    early = job("a")
    world.intake.submit(early)
    task = asyncio.create_task(world.intake.run(world.broker))
    await eventually_async(lambda: None not in early.verdicts)
    task.cancel()
    await asyncio.wait([task])
    assert early.wait(0)
