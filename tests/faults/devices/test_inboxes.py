"""Tests that every difference between a device and its inbox is seen, and that a device notes what comes twice."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from notify_client.inbox import GapFound, Inbox
from shared.realtime.frames import item_bytes, missed_notifications, notification, updated
from shared.store.values import Notification, Position
from tests.faults.devices.device import Device
from tests.faults.devices.inboxes import Truth, differences
from tests.faults.devices.record import DeviceRecord

EPOCH = "0a1b2c3d"


def row(id_: int, seq: int, **changes: Any) -> Notification:
    texts = {"type": "info", "priority": "high", "category": None, "title": f"title {id_}", "body": "", "extra": "{}"}
    fields: dict[str, Any] = {
        "id": id_,
        "tenant": "",
        "user_id": "ann",
        "client": "",
        "request_id": f"r{id_}",
        "seq": seq,
        "changed_seq": seq,
        **texts,
        "created_ms": 1_000,
        "stored_ms": 1_000,
        **dict.fromkeys(("read_ms", "archived_ms", "deleted_ms", "expires_ms")),
    }
    return Notification(**{**fields, **changes})


#: two unread ones, a read one, and the trace of a deleted one
ROWS = [row(1, 1), row(2, 2), row(3, 3, changed_seq=5, read_ms=2_000), row(4, 4, changed_seq=6, deleted_ms=2_000)]
TRUTH = Truth(Position(EPOCH, 6), 2, {each.id: each for each in ROWS})


def device() -> Device:
    made = Device(DeviceRecord("ann/0", "ann"), "", lambda: [1], random.Random(1))
    made.live = True
    return made


def pulled(rows: list[Notification], end: int, unread: int, *, recovered: bool) -> dict[str, Any]:
    frame: dict[str, Any] = orjson.loads(
        missed_notifications(
            [item_bytes(each) for each in rows], recovered=recovered, position=Position(EPOCH, end), unread=unread
        )
    )
    return frame


def loaded() -> Device:
    """Returns a device that has seen everything from the beginning."""
    made = device()
    made.live = False
    made._take(pulled([], 0, 0, recovered=False))
    made._take(pulled(ROWS, 6, 2, recovered=True))
    return made


def test_a_device_that_shows_its_inbox_does_not_differ() -> None:
    shown = loaded()
    assert differences(shown.inbox, shown.loaded_at, TRUTH) == []
    assert (shown.record.doubles, shown.record.gaps, shown.record.resets) == ([], [], 0)


def _lacks(inbox: Inbox) -> None:
    del inbox.rows[2]


def _lacks_a_read_one(inbox: Inbox) -> None:
    del inbox.rows[3]


def _keeps(inbox: Inbox) -> None:
    inbox.rows[9] = inbox.rows[1]


def _keeps_a_deleted_one(inbox: Inbox) -> None:
    inbox.rows[4] = inbox.rows[1]


def _is_stale(inbox: Inbox) -> None:
    inbox.rows[1], inbox.rows[2] = inbox.rows[2], inbox.rows[1]


def _miscounts(inbox: Inbox) -> None:
    inbox.unread = 3


def _is_behind(inbox: Inbox) -> None:
    assert inbox.position is not None
    inbox.position = inbox.position._replace(offset=5)


def _is_of_another_epoch(inbox: Inbox) -> None:
    assert inbox.position is not None
    inbox.position = inbox.position._replace(epoch="ffffffff")


@pytest.mark.parametrize(
    "spoil",
    [
        _lacks,
        _lacks_a_read_one,
        _keeps,
        _keeps_a_deleted_one,
        _is_stale,
        _miscounts,
        _is_behind,
        _is_of_another_epoch,
    ],
)
def test_every_difference_is_seen(spoil: Callable[[Inbox], None]) -> None:
    shown = loaded()
    spoil(shown.inbox)
    assert differences(shown.inbox, shown.loaded_at, TRUTH)


def test_what_was_read_before_the_load_may_be_missing() -> None:
    shown = device()
    shown.live = False
    shown._take(pulled(ROWS[:2], 6, 2, recovered=False))
    assert differences(shown.inbox, shown.loaded_at, TRUTH) == []


def test_nothing_loaded_is_a_difference() -> None:
    assert differences(Inbox(), 0, Truth(Position("", 0), 0, {}))


def test_a_change_that_comes_twice_on_a_connection_is_noted() -> None:
    shown = loaded()
    new = orjson.loads(notification(row(5, 7), 6, 3))
    shown._take(new)
    assert shown.record.doubles == []
    shown._take(new)
    assert len(shown.record.doubles) == 2
    marked = orjson.loads(updated([row(5, 7, changed_seq=8, read_ms=3_000)], 7, 2))
    shown._take(marked)
    assert len(shown.record.doubles) == 2
    shown._take(pulled([row(5, 7, changed_seq=8, read_ms=3_000)], 9, 2, recovered=True))
    assert "row 5 of offset 8" in shown.record.doubles[-1]


def test_a_frame_that_does_not_follow_is_noted() -> None:
    shown = loaded()
    with pytest.raises(GapFound):
        shown._take(orjson.loads(notification(row(6, 8), 7, 3)))
    assert shown.record.gaps == ["notification 7 to 8 at Position(epoch='0a1b2c3d', offset=6)"]


def test_everything_may_come_again_when_the_list_is_emptied() -> None:
    shown = loaded()
    shown._take(pulled(ROWS[:2], 6, 2, recovered=False))
    assert shown.record.doubles == []
    assert shown.record.resets == 1
