"""Tests that what is told arrives as it was told, and that nothing which anybody may publish does any harm."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.events import wire
from shared.events.event import KINDS, MOST_DETAIL, events_of, happening
from tests.support.timelines import ACCEPTED_MS, events, report, told


def test_every_kind_arrives_with_all_its_fields() -> None:
    fields: dict[str, Any] = {"provider": "fcm", "code": "404 UNREGISTERED", "ms": 12, "reason": "unavailable"}
    more: dict[str, Any] = {"detail": "fcm 404", "next_try_ms": ACCEPTED_MS + 5, "body": '{"a": 1}'}
    sent = [report(told(kind, 3, **fields, **more), attempt=2, deferrals=1, replay=7, mark="m") for kind in KINDS]
    decoded = wire.decode(wire.encode(sent))
    assert (decoded.problem, decoded.invalid) == ("", [])
    arrived = events(*decoded.reports)
    assert arrived == events(*sent)
    assert {event.kind for event in arrived} == set(KINDS)
    assert arrived[0]._asdict() == {
        "request_id": "r-1",
        "client": "shop",
        "channel": "push",
        "user_id": "ada",
        "priority": "medium",
        "type": "info",
        "accepted_ms": ACCEPTED_MS,
        "replay": 7,
        "attempt": 2,
        "at_ms": ACCEPTED_MS + 3,
        "kind": "accepted",
        "id": arrived[0].id,
        **fields,
        **more,
    }


def test_the_same_told_again_has_the_same_id_and_everything_else_another() -> None:
    base = report(told("attempted"), told("attempted"), told("sent"))
    ids = [event.id for event in events_of(base)]
    assert len(set(ids)) == 3
    assert [event.id for event in events_of(base)] == ids
    others = [
        report(told("attempted"), attempt=1),
        report(told("attempted"), deferrals=1),
        report(told("attempted"), replay=1),
        report(told("attempted"), mark="x"),
    ]
    found = [event.id for event in events(*others)]
    assert len({*ids, *found}) == 7
    assert all(0 <= id_ < 2**63 for id_ in found)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"v": 1}',
        b'{"v": 1, "reports": {}}',
        b'{"v": 2, "reports": []}',
        b'{"reports": []}',
        b"[" * 10_000,
        b" " * (wire.MOST_BYTES + 1),
    ],
)
def test_a_message_that_is_none_is_named(body: bytes) -> None:
    decoded = wire.decode(body)
    assert decoded.problem
    assert decoded.reports == []


def _changed(place: int, value: Any) -> list[Any]:
    return [value if at == place else field for at, field in enumerate(report(told("sent")))]


@pytest.mark.parametrize(
    "bad",
    [
        "text",
        [],
        _changed(0, "a client"),
        _changed(1, ""),
        _changed(1, "r" * 129),
        _changed(1, 7),
        _changed(2, "fax"),
        _changed(3, "u" * 257),
        _changed(4, "urgent"),
        _changed(5, "alert"),
        _changed(6, -1),
        _changed(7, 2**53),
        _changed(8, 1_001),
        _changed(11, [["exploded", 1, "", "", None, "", "", None, None]]),
        _changed(11, [["sent", 1, "", "", None, "", "d" * (MOST_DETAIL + 1), None, None]]),
        _changed(11, [["sent", 1]]),
        [*report(told("sent")), "one more"],
    ],
    ids=lambda bad: str(bad)[:60],
)
def test_a_bad_report_is_set_apart_and_its_values_are_not_shown(bad: Any) -> None:
    good = report(told("sent"), request_id="good")
    decoded = wire.decode(orjson.dumps({"v": 1, "reports": [bad, good]}))
    assert events(*decoded.reports) == events(good)
    ((found, why),) = decoded.invalid
    assert found == orjson.loads(orjson.dumps(bad))
    assert why
    assert "ada" not in why


def test_u0000_becomes_a_sign_that_every_database_holds() -> None:
    decoded = wire.decode(wire.encode([report(told("sent", provider="a\0b", body="c\0d"), user_id="e\0f")]))
    (event,) = events(*decoded.reports)
    assert (event.provider, event.body, event.user_id) == ("a\ufffdb", "c\ufffdd", "e\ufffdf")


def test_a_long_detail_is_cut() -> None:
    assert len(happening("failed", 1, detail="x" * 1_000)[6]) == MOST_DETAIL
