"""Tests that what is told is published in few messages, and that no notification waits long for its timeline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.events import reporter as module
from shared.events.reporter import Reporter
from shared.events.wire import MOST_REPORTS, decode
from tests.support.fakes.publisher import GatedPublisher
from tests.support.timelines import events, report, told
from tests.support.waiting import eventually_async


class Lost:
    def __init__(self) -> None:
        self.events = 0

    def __call__(self, events: float) -> None:
        self.events += int(events)


@pytest.fixture
def publisher() -> GatedPublisher:
    return GatedPublisher()


@pytest.fixture
def lost() -> Lost:
    return Lost()


@pytest.fixture
async def reporter(publisher: GatedPublisher, lost: Lost, monkeypatch: pytest.MonkeyPatch) -> Reporter:
    monkeypatch.setattr(module, "REPEAT_S", 0.01)
    made = Reporter(publisher, "push", lost)
    made.start()
    return made


def sent(request_id: str, **fields: Any) -> Any:
    return report(told("sent", provider="fcm", **fields), request_id=request_id)


async def test_what_is_told_in_one_turn_is_one_message(reporter: Reporter, publisher: GatedPublisher) -> None:
    batches = {reporter.report(sent(f"r-{n}")) for n in range(50)}
    assert len(batches) == 1
    assert publisher.tried == []
    await reporter.confirmed(batches.pop())
    (message,) = publisher.confirmed
    assert (message.exchange, message.routing_key) == ("notifications.events", "push")
    assert publisher.told == [f"r-{n}" for n in range(50)]
    assert reporter.kept == 0


async def test_a_message_has_a_limit_of_reports_and_of_bytes(reporter: Reporter, publisher: GatedPublisher) -> None:
    for n in range(MOST_REPORTS + 1):
        reporter.report(sent(f"r-{n}"))
    for n in range(9):
        reporter.report(report(told("accepted", body="x" * 60_000), request_id=f"b-{n}"))
    await eventually_async(lambda: reporter.kept == 0)
    assert [len(decode(one.body).reports) for one in publisher.confirmed] == [MOST_REPORTS, 6, 4]
    assert max(len(one.body) for one in publisher.confirmed) < 512 * 1024


async def test_reports_gather_while_messages_are_on_their_way(reporter: Reporter, publisher: GatedPublisher) -> None:
    publisher.gate.clear()
    for n in range(20):
        reporter.report(sent(f"r-{n}"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(publisher.tried) == module.MOST_IN_FLIGHT
    publisher.gate.set()
    await eventually_async(lambda: reporter.kept == 0)
    assert len(publisher.confirmed) == module.MOST_IN_FLIGHT + 1
    assert publisher.told == [f"r-{n}" for n in range(20)]


async def test_who_waits_waits_for_the_confirm(reporter: Reporter, publisher: GatedPublisher) -> None:
    publisher.gate.clear()
    waiting = [asyncio.create_task(reporter.confirmed(reporter.report(sent(f"r-{n}")))) for n in range(3)]
    await eventually_async(lambda: len(publisher.tried) == 1)
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    publisher.gate.set()
    await asyncio.gather(*waiting[1:])
    assert publisher.told == ["r-0", "r-1", "r-2"]


async def test_nobody_waits_for_events_that_are_refused_and_they_are_published_later(
    reporter: Reporter, publisher: GatedPublisher, lost: Lost
) -> None:
    publisher.refuses = True
    first = reporter.report(sent("r-0"))
    await reporter.confirmed(first)
    assert reporter.refused
    publisher.gate.clear()
    # Nothing answers now, and still nobody waits.
    await reporter.confirmed(reporter.report(sent("r-1")))
    assert publisher.told == []
    publisher.refuses = False
    publisher.gate.set()
    await eventually_async(lambda: reporter.kept == 0)
    assert sorted(publisher.told) == ["r-0", "r-1"]
    assert not reporter.refused
    assert lost.events == 0


async def test_what_cannot_be_kept_is_counted(
    reporter: Reporter, publisher: GatedPublisher, lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 10)
    publisher.refuses = True
    for n in range(13):
        await reporter.confirmed(reporter.report(sent(f"r-{n}")))
    assert (reporter.kept, lost.events) == (10, 3)
    publisher.refuses = False
    await eventually_async(lambda: reporter.kept == 0)
    assert sorted(publisher.told) == sorted(f"r-{n}" for n in range(10))


async def test_bodies_cannot_fill_the_memory(
    reporter: Reporter, publisher: GatedPublisher, lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_KEPT_BYTES", 1_000)
    publisher.refuses = True
    for n in range(5):
        reporter.report(report(told("accepted", body="x" * 400), request_id=f"b-{n}"))
    assert (reporter.kept, lost.events) == (2, 3)


async def test_half_a_character_costs_only_its_own_report(
    reporter: Reporter, publisher: GatedPublisher, lost: Lost
) -> None:
    reporter.report(sent("good-1"))
    reporter.report(sent("bad", detail="\ud800"))
    await reporter.confirmed(reporter.report(sent("good-2")))
    assert publisher.told == ["good-1", "good-2"]
    assert lost.events == 1


async def test_a_process_that_ends_publishes_what_it_has(reporter: Reporter, publisher: GatedPublisher) -> None:
    for n in range(3):
        reporter.report(sent(f"r-{n}"))
    await reporter.close()
    assert publisher.told == ["r-0", "r-1", "r-2"]
    assert publisher.closed


async def test_a_process_that_ends_does_not_wait_for_ever(
    reporter: Reporter, publisher: GatedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GOODBYE_S", 0.05)
    publisher.gate.clear()
    reporter.report(sent("r-0"))
    await asyncio.wait_for(reporter.close(), 5)
    assert publisher.closed


async def test_another_thread_may_tell_too(reporter: Reporter, publisher: GatedPublisher) -> None:
    await asyncio.to_thread(reporter.report_from_thread, sent("r-0"))
    await eventually_async(lambda: publisher.told == ["r-0"])


def test_the_events_of_a_report_are_those_that_were_told() -> None:
    assert [event.kind for event in events(report(told("attempted"), told("sent")))] == ["attempted", "sent"]
