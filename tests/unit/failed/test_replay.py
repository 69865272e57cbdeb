"""Tests what a replay publishes for a failed message."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.failed.entry import read_entry
from shared.failed.replay import CannotReplay, replay_of
from tests.support.envelopes import PUSH

NOW = 1_800_000_000_000


def replay(headers: dict[str, Any] | None = None, ignore_expiry: bool = False, **fields: Any) -> dict[str, Any]:
    body = orjson.dumps({**PUSH, **fields})
    entry = read_entry(body, {"notify-failed-queue": "push.low.queue", **(headers or {})})
    publication = replay_of(body, entry, ignore_expiry=ignore_expiry, now_ms=NOW)
    assert (publication.exchange, publication.routing_key) == ("notifications.direct", "push.low")
    assert (publication.body, publication.correlation_id) == (body, "r-1")
    return publication.headers


def test_a_new_life_begins_with_nothing_of_the_old_one() -> None:
    old = {"notify-attempt": 8, "notify-deferrals": 3, "notify-last-error": "e", "x-death": [{"queue": "q"}], "x-y": 1}
    assert replay(old) == {
        "notify-accepted-at": "2027-01-15T08:00:00.000Z",
        "notify-attempt": 0,
        "notify-deferrals": 0,
        "notify-replay": NOW,
    }


def test_each_life_is_above_the_one_before_also_when_the_clock_is_behind() -> None:
    assert replay({"notify-replay": NOW})["notify-replay"] == NOW + 1
    assert replay({"notify-replay": NOW + 5_000})["notify-replay"] == NOW + 5_001
    assert replay({"notify-replay": NOW - 5_000})["notify-replay"] == NOW


def test_a_message_past_its_expires_at_needs_ignore_expiry() -> None:
    past, future = "2027-01-15T08:00:00Z", "2027-01-15T08:00:01Z"
    with pytest.raises(CannotReplay) as refused:
        replay(expires_at=past)
    assert refused.value.reason == "expired"
    assert replay(expires_at=past, ignore_expiry=True)["notify-ignore-expiry"] is True
    assert "notify-ignore-expiry" not in replay(expires_at=future)


@pytest.mark.parametrize(
    ("body", "queue", "reason"),
    [
        (b"{", "push.queue", "undecodable"),
        (b"{}", "push.queue", "undecodable"),
        (orjson.dumps(PUSH), "email.queue", "undecodable"),
        (orjson.dumps({**PUSH, "metadata": {"fill": "x" * 70_000}}), "push.queue", "undecodable"),
        (orjson.dumps(PUSH), "fax.queue", "unknown_queue"),
        (orjson.dumps(PUSH), "", "unknown_queue"),
    ],
)
def test_a_message_that_would_only_fail_again_is_not_replayed(body: bytes, queue: str, reason: str) -> None:
    entry = read_entry(body, {"notify-failed-queue": queue})
    with pytest.raises(CannotReplay) as refused:
        replay_of(body, entry, ignore_expiry=True, now_ms=NOW)
    assert refused.value.reason == reason


def test_a_replay_keeps_the_client() -> None:
    assert replay({"notify-client": "shop"})["notify-client"] == "shop"


def test_a_number_of_a_life_that_nobody_wrote_does_not_count() -> None:
    assert replay({"notify-replay": 2**53 - 2})["notify-replay"] == NOW


def unroutable(**fields: Any) -> tuple[str, dict[str, Any]]:
    body = orjson.dumps({**PUSH, **fields})
    entry = read_entry(
        body, {"notify-client": "shop", "notify-replay": 9}, "push.urgent", exchange="notifications.direct"
    )
    publication = replay_of(body, entry, ignore_expiry=False, now_ms=NOW)
    return publication.routing_key, publication.headers


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, "push"),
        ({"priority": 9}, "push.high"),
        ({"notification_type": "sms", "priority": "low"}, "sms.low"),
        ({"notification_type": None, "channels": ["email"]}, "email"),
    ],
    ids=str,
)
def test_a_message_with_an_unknown_routing_key_is_replayed_to_the_lane_that_its_body_names(
    fields: dict[str, Any], key: str
) -> None:
    routing_key, headers = unroutable(**fields)
    assert routing_key == key
    assert (headers["notify-client"], headers["notify-replay"]) == ("shop", NOW)


@pytest.mark.parametrize(
    "fields",
    [{"notification_type": None, "channels": ["email", "sms"]}, {"notification_type": "both"}, {"request_id": 5}],
    ids=str,
)
def test_a_message_that_names_no_single_lane_stays(fields: dict[str, Any]) -> None:
    with pytest.raises(CannotReplay) as refused:
        unroutable(**fields)
    assert refused.value.reason == "undecodable"
