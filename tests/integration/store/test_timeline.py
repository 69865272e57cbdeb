"""Tests the tables of the timeline: repeated writes, statuses in any order of arrival, lists, counts and retention."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import NotifyError
from shared.events.event import Event
from shared.store.store import Store
from shared.store.timeline.rows import Delivery, Wanted
from shared.store.timeline.timeline import Timeline
from tests.support.timelines import ACCEPTED_MS, events, report, told


@pytest.fixture
def timeline(store: Store) -> Iterator[Timeline]:
    yield Timeline(store.database)


#: A notification that fails once, is sent, and is read. Each report is one of a process of its own.
STORY = (
    report(told("accepted", body='{"a": "ü"}')),
    report(
        told("attempted", 10, provider="fcm", code="503", ms=4, reason="unavailable", detail="fcm 503"),
        told("retrying", 14, provider="fcm", reason="provider_unavailable", next_try_ms=ACCEPTED_MS + 5_014),
    ),
    report(
        told("attempted", 5_020, provider="fcm2", code="accepted", ms=3),
        told("sent", 5_023, provider="fcm2"),
        attempt=1,
    ),
    report(told("read", 9_000)),
)


def state(timeline: Timeline, request_id: str = "r-1") -> dict[str, Any]:
    ((row,), _) = timeline.of_request(request_id)
    return row._asdict()


def whole_rows(store: Store) -> list[tuple[Any, ...]]:
    with store.database.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM deliveries ORDER BY 2, 3, 4")]


def test_a_story_becomes_a_row(timeline: Timeline) -> None:
    assert timeline.write(events(*STORY)) == []
    assert state(timeline) == {
        "request_id": "r-1",
        "client": "shop",
        "channel": "push",
        "user_id": "ada",
        "priority": "medium",
        "type": "info",
        "status": "read",
        "attempts": 2,
        "created_ms": ACCEPTED_MS,
        "updated_ms": ACCEPTED_MS + 9_000,
        "provider": "fcm2",
        "reason": "provider_unavailable",
        "detail": "",
        "next_try_ms": ACCEPTED_MS + 5_014,
        "sent_ms": ACCEPTED_MS + 5_023,
        "delivered_ms": None,
        "read_ms": ACCEPTED_MS + 9_000,
        "latency_ms": 5_023,
        "republished": 0,
    }
    _, story = timeline.of_request("r-1")
    assert [one.kind for one in story] == ["accepted", "attempted", "retrying", "attempted", "sent", "read"]
    assert (story[1].code, story[1].ms, story[1].detail) == ("503", 4, "fcm 503")


def test_the_order_of_arrival_does_not_matter(store: Store, timeline: Timeline) -> None:
    """Every order of the single events, each in a transaction of its own, and some of them twice."""
    told_all = events(*STORY)
    timeline.write(told_all)
    (expected,) = whole_rows(store)
    orders = list(itertools.permutations(told_all))
    chance = random.Random(7)
    for number, order in enumerate(chance.sample(orders, 40)):
        rid = f"o-{number}"
        for event in order:
            timeline.write([event._replace(request_id=rid), *chance.sample([event._replace(request_id=rid)], 1)])
            timeline.write([event._replace(request_id=rid)])
    for row in whole_rows(store):
        assert (row[0], *row[2:]) == (expected[0], *expected[2:])


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (told("sent", 5), told("attempted", 9), "sent"),
        (told("sent", 5), told("retrying", 9, reason="throttled"), "sent"),
        (told("sent", 5), told("failed", 9, reason="attempts_exhausted"), "sent"),
        (told("failed", 5, reason="no_recipient"), told("attempted", 9), "failed"),
        (told("skipped", 5, reason="opted_out"), told("accepted", 9), "skipped"),
        (told("expired", 5, reason="expired"), told("accepted", 9), "expired"),
        (told("read", 5), told("sent", 9), "read"),
        (told("delivered", 5), told("sent", 9), "delivered"),
        (told("delivered", 5), told("read", 9), "read"),
        (told("accepted", 5), told("duplicate", 9, reason="duplicate"), "sent"),
        (told("accepted", 5), told("duplicate", 9, reason="skipped"), "skipped"),
        (told("accepted", 5), told("duplicate", 9, reason="stale"), "pending"),
        (told("accepted", 5), told("duplicate", 9, reason="request_id_reused"), "pending"),
        (told("failed", 5, reason="no_recipient"), told("token_dead", 9), "failed"),
    ],
    ids=lambda one: one if isinstance(one, str) else one[0],
)
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_what_is_more_final_counts(
    first: Any, second: Any, status: str, swapped: bool, together: bool, timeline: Timeline
) -> None:
    pair = [second, first] if swapped else [first, second]
    if together:
        timeline.write(events(report(*pair)))
    else:
        for one in pair:
            timeline.write(events(report(one)))
    assert state(timeline)["status"] == status


@pytest.mark.parametrize("swapped", [False, True])
def test_a_replay_begins_a_life_above_the_earlier_one(swapped: bool, timeline: Timeline) -> None:
    life = ACCEPTED_MS + 60_000
    failed = report(told("accepted", body="{}"), told("failed", 9, reason="no_recipient"))
    again = report(told("replayed", 60_000, body="{}"), replay=life, accepted_ms=life)
    sent = report(told("sent", 60_005, provider="fcm"), replay=life, accepted_ms=life)
    first, second = (again, failed) if swapped else (failed, again)
    timeline.write(events(first))
    timeline.write(events(second))
    assert (state(timeline)["status"], state(timeline)["created_ms"]) == ("pending", ACCEPTED_MS)
    timeline.write(events(sent))
    assert (state(timeline)["status"], state(timeline)["latency_ms"]) == ("sent", 5)


def test_a_body_is_kept_until_the_end(store: Store, timeline: Timeline) -> None:
    def bodies() -> list[Any]:
        with store.database.reading() as connection:
            return [row[0] for row in connection.exec_driver_sql("SELECT body FROM deliveries")]

    accepted = events(report(told("accepted", body='{"secret": 1}')))
    timeline.write(accepted)
    timeline.write(events(report(told("attempted", 3, provider="fcm", reason="unavailable"))))
    assert bodies() == ['{"secret": 1}']
    timeline.write(events(report(told("sent", 4, provider="fcm"))))
    assert bodies() == [None]
    timeline.write(accepted)
    assert bodies() == [None]


def test_a_body_that_arrives_after_the_end_is_not_kept(store: Store, timeline: Timeline) -> None:
    timeline.write(events(report(told("sent", 4, provider="fcm"))))
    timeline.write(events(report(told("accepted", body="{}"))))
    assert whole_rows(store)[0].count("{}") == 0


def test_what_the_database_refuses_keeps_out_nothing_else(timeline: Timeline) -> None:
    good = [event for n in range(20) for event in events(report(told("sent", 1), request_id=f"good-{n}"))]
    bad = good[0]._replace(request_id="bad", detail="half a character: \ud800")
    rejected = timeline.write([*good[:10], bad, *good[10:]])
    assert [event.request_id for event, _ in rejected] == ["bad"]
    assert len(timeline.page(Wanted(), None, 100).items) == 20


def test_several_writers_of_the_same_events_do_not_deadlock(database_url: str) -> None:
    told_all = [
        event
        for n in range(60)
        for event in events(
            report(told("accepted"), told("attempted", 2, provider="fcm"), told("sent", 3), request_id=f"r-{n}")
        )
    ]
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        own = Store(database_url)
        chance = random.Random(seed)
        try:
            for _ in range(8):
                mine = chance.sample(told_all, 120)
                Timeline(own.database).write(mine)
            Timeline(own.database).write(told_all)
        except NotifyError as exc:
            failures.append(exc)
        finally:
            own.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = Store(database_url)
    rows = Timeline(store.database).page(Wanted(), None, 100).items
    assert {(row.status, row.attempts) for row in rows} == {("sent", 1)}
    assert len(rows) == 60
    store.close()


def _fill(timeline: Timeline) -> list[Delivery]:
    """Writes 12 notifications, one a minute, of two clients to two users. Returns their rows, the newest first."""
    all_events: list[Event] = []
    for n in range(12):
        at = ACCEPTED_MS + 60_000 * n
        kind = ("sent", "failed", "attempted")[n % 3]
        all_events += events(
            report(
                told("accepted", 60_000 * n),
                told(kind, 60_000 * n + 10 * (n + 1), reason="" if kind == "sent" else "unavailable", provider="p"),
                request_id=f"r-{n:02}",
                client=("shop", "crm")[n % 2],
                channel=("push", "email")[n // 2 % 2],
                user_id=("ada", "")[n % 4 == 3],
                priority=("high", "low")[n % 2],
                accepted_ms=at,
            )
        )
    timeline.write(all_events)
    return list(timeline.page(Wanted(), None, 100).items)


def test_a_list_comes_in_parts_newest_first(timeline: Timeline) -> None:
    everything = _fill(timeline)
    assert [row.request_id for row in everything] == [f"r-{n:02}" for n in reversed(range(12))]
    parts, cursor = [], None
    while True:
        part = timeline.page(Wanted(), cursor, 5)
        parts.append(part.items)
        cursor = part.next
        if cursor is None:
            break
    assert [len(items) for items in parts] == [5, 5, 2]
    assert [row for items in parts for row in items] == everything


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(client="shop"),
        Wanted(client="crm", channel="email"),
        Wanted(user_id="ada"),
        Wanted(status="failed"),
        Wanted(priority="high", type="info"),
        Wanted(type="error"),
        Wanted(request_id="r-03"),
        Wanted(since_ms=ACCEPTED_MS + 60_000, until_ms=ACCEPTED_MS + 180_000),
        Wanted(client="shop", user_id="ada", status="sent", channel="push"),
    ],
)
def test_a_list_holds_what_matches_and_nothing_else(wanted: Wanted, timeline: Timeline) -> None:
    def matches(row: Delivery) -> bool:
        for name in ("client", "user_id", "request_id", "channel", "status", "priority", "type"):
            value = getattr(wanted, name)
            if value is not None and getattr(row, name) != value:
                return False
        return (wanted.since_ms or 0) <= row.created_ms < (wanted.until_ms or 2**60)

    everything = _fill(timeline)
    found = list(timeline.page(wanted, None, 100).items)
    assert found == [row for row in everything if matches(row)]
    assert found or wanted.type == "error"


def test_counts_are_by_hour_and_all_else(timeline: Timeline) -> None:
    rows = _fill(timeline)
    counts = timeline.counts(Wanted())
    assert sum(count.number for count in counts.counts) == 12
    assert {count.hour_ms % 3_600_000 for count in counts.counts} == {0}
    sent = [count for count in counts.counts if count.status == "sent"]
    assert sum(count.number for count in sent) == 4
    took = sorted(ms for _, ms, number in counts.latencies for _ in range(number))
    assert took == sorted(row.latency_ms // 10 * 10 for row in rows if row.latency_ms)


def test_only_what_is_silent_and_on_no_ladder_is_overdue(timeline: Timeline) -> None:
    body = '{"x": 1}'
    late = ACCEPTED_MS + 3_600_000

    def write(name: str, *more: Any, **fields: Any) -> None:
        timeline.write(events(report(told("accepted", body=body), *more, request_id=name, **fields)))

    write("lost")
    write("lost-later", told("retrying", 5, reason="throttled", next_try_ms=ACCEPTED_MS + 1_000), attempt=2)
    write("on-ladder", told("retrying", 5, reason="throttled", next_try_ms=late + 1))
    write("sent", told("sent", 5))
    write("failed", told("failed", 5, reason="no_recipient"))
    write("active", told("attempted", 3_600_001, provider="fcm"))
    timeline.write(events(report(told("accepted"), request_id="no-body")))
    write("too-old", accepted_ms=ACCEPTED_MS - 10_000_000)

    found = timeline.overdue(late, ACCEPTED_MS - 1_000, 10)
    assert sorted((one.request_id, one.place, one.body) for one in found) == [
        ("lost", 0, body),
        ("lost-later", 3, body),
    ]
    timeline.note_republished(found[:1], late + 5)
    (left,) = timeline.overdue(late, ACCEPTED_MS - 1_000, 10)
    assert left == found[1]
    assert state(timeline, found[0].request_id)["republished"] == 1


def test_retention_removes_deliveries_with_their_events(store: Store, timeline: Timeline) -> None:
    _fill(timeline)
    assert timeline.retain(ACCEPTED_MS + 60_000 * 7) == 7
    left = timeline.page(Wanted(), None, 100).items
    assert [row.request_id for row in left] == [f"r-{n:02}" for n in reversed(range(7, 12))]
    with store.database.reading() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM events").scalar() == 10
    assert timeline.retain(ACCEPTED_MS) == 0
