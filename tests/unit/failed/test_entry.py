"""Tests the entry of a failed message: from a worker's headers, from the broker's, and from any other message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.failed.entry import REASONS, failed_headers, read_entry
from shared.failed.results import item_of
from shared.message.channels import Lane
from shared.message.headers import DeliveryState
from shared.message.outcome import Dead
from tests.support.fakes.incoming import make_incoming

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def death(**fields: Any) -> dict[str, Any]:
    newest = {"reason": "delivery_limit", "queue": "push.high.queue", "time": AT, "count": 1, **fields}
    return {"x-death": [newest, {"reason": "expired", "queue": "retry.push.high.5s.queue"}]}


def test_the_brokers_newest_death_is_the_one_that_counts() -> None:
    headers = {**death(), "x-first-death-reason": "expired", "notify-attempt": 3, "notify-last-error": "fcm 503"}
    entry = read_entry(b'{"request_id": "r1"}', headers)
    assert (entry.reason, entry.queue, entry.lane) == ("delivery_limit", "push.high.queue", Lane("push", "high"))
    assert (entry.failed_at, entry.attempts, entry.error) == ("2026-01-02T03:04:05.000Z", 3, "fcm 503")


@pytest.mark.parametrize("reason", ["delivery_limit", "expired", "rejected", "maxlen"])
def test_every_reason_of_the_broker_can_be_selected(reason: str) -> None:
    assert read_entry(b"{}", death(reason=reason)).reason == reason
    assert reason in REASONS


def test_a_workers_headers_take_precedence_over_the_brokers() -> None:
    incoming = make_incoming(b"{}", headers={})
    headers = failed_headers(incoming, DeliveryState(attempt=2), 1, Dead("no_recipient", "none"))
    entry = read_entry(b"{}", {**death(), **headers})
    assert (entry.id, entry.reason) == (headers["notify-failed-id"], "no_recipient")
    assert (entry.queue, entry.attempts) == ("push.queue", 2)


def test_an_id_is_the_same_each_time_and_another_for_another_death() -> None:
    ids = {
        read_entry(body, death(time=at)).id for body in (b"a", b"b") for at in (AT, AT.replace(second=6)) for _ in "12"
    }
    assert len(ids) == 4
    assert all(len(each) == 16 for each in ids)


def test_without_a_queue_the_routing_key_tells_the_lane() -> None:
    assert read_entry(b"{}", {}, "sms.low").lane == Lane("sms", "low")
    assert read_entry(b"{}", {"notify-failed-queue": "fax.queue"}, "sms.low").lane is None
    assert read_entry(b"{}", {}, "").lane is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"request_id": 5}', b"{}", b"\xff\xfe"])
def test_a_body_that_names_no_request_has_none(body: bytes) -> None:
    entry = read_entry(body, {})
    assert (entry.request_id, entry.reason, entry.body_bytes) == (None, "unknown", len(body))


def test_a_publishers_milliseconds_are_not_taken_for_seconds() -> None:
    assert read_entry(b"", {}, timestamp_ms=1_700_000_000_000).failed_at == "2023-11-14T22:13:20.000Z"
    assert read_entry(b"", {}, timestamp_ms=1_700_000_000_000_000).failed_at == ""
    assert read_entry(b"", {}, timestamp_ms=2**64 * 1000).failed_at == ""


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_NAMES = ("id", "reason", "error", "provider", "attempts", "queue", "at")
_HEADERS = st.dictionaries(
    st.sampled_from(["x-death", "notify-first-attempt-at", "notify-replay", *(f"notify-failed-{n}" for n in _NAMES)]),
    _VALUES | st.lists(st.dictionaries(st.sampled_from(["reason", "queue", "time"]), _VALUES), max_size=2),
)


@given(body=st.binary(max_size=50), headers=_HEADERS, key=st.text(max_size=20))
def test_no_message_stops_a_listing(body: bytes, headers: dict[str, Any], key: str) -> None:
    entry = read_entry(body, headers, key)
    assert item_of(entry).id
    entry.age_order()


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "soon", "2026-01-01"])
def test_a_time_that_is_none_sorts_last(text: str) -> None:
    known = read_entry(b"", {"notify-failed-at": "2026-01-01T00:00:00.000Z"})
    assert known.age_order() < read_entry(b"", {"notify-failed-at": text}).age_order()


@pytest.mark.parametrize(
    "headers", [{}, death(), {"notify-failed-reason": "expired", "notify-failed-queue": "push.queue"}, {"x-death": 7}]
)
def test_a_message_that_came_by_the_alternate_exchange_had_an_unknown_routing_key(headers: dict[str, Any]) -> None:
    """Tests that the exchange decides: the headers of such a message are its publisher's, who may have copied them."""
    entry = read_entry(b'{"request_id": "r1"}', headers, "push.urgent", 1_767_323_045_000, "notifications.direct")
    assert (entry.reason, entry.lane, entry.queue, entry.attempts) == ("unroutable", None, "", 0)
    assert (entry.request_id, entry.failed_at) == ("r1", "2026-01-02T03:04:05.000Z")
    assert "'push.urgent'" in entry.error
    assert entry.reason in REASONS


@pytest.mark.parametrize(("written", "read"), [(1_001, 1_001), (1_002, 0), (-1, 0), (2**60, 0), ("7", 0), (True, 0)])
def test_a_number_of_attempts_that_nobody_could_have_made_is_unknown(written: Any, read: int) -> None:
    assert read_entry(b"{}", {"notify-failed-attempts": written}).attempts == read


def test_an_entry_tells_its_client_and_without_one_is_listed_as_before() -> None:
    def written(client: str) -> dict[str, Any]:
        outcome = Dead("no_recipient", "none")
        return failed_headers(make_incoming(b"{}"), DeliveryState(client=client), 1, outcome)

    assert read_entry(b"{}", written("shop")).client == "shop"
    assert item_of(read_entry(b"{}", written("shop"))).model_dump()["client"] == "shop"
    assert "client" not in item_of(read_entry(b"{}", written(""))).model_dump()
    assert "notify-client" not in written("")
    assert len({written(client)["notify-failed-id"] for client in ("", "shop", "bank")}) == 3
