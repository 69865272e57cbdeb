"""Tests the AMQP headers: they are built anew, bad values read as defaults, and their size is bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import spec

from shared.clock import now_ms, rfc3339
from shared.message.headers import ERROR_BYTES, MOST_REDELIVERIES, DeliveryState, cut, read_state
from shared.message.incoming import Received
from shared.worker.poison import is_suspect, redeliveries
from tests.support.fakes.incoming import make_incoming
from tests.support.run.moved_clock import time_ns_from

#: Later than the times of the messages that are read here: no life begins in the future.
LATER_MS = 1_767_312_000_000
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers())


def test_only_this_products_headers_travel() -> None:
    given_to_us = {"x-death": [{"count": 3}], "x-delivery-count": 2, "expiration": "5", "trace": "abc"}
    headers = read_state({**given_to_us, "notify-attempt": 2}).to_headers()
    assert headers["notify-attempt"] == 2
    assert all(name.startswith("notify-") for name in headers)


@given(
    st.fixed_dictionaries(
        dict.fromkeys(("notify-attempt", "notify-deferrals", "notify-replay", "notify-redeliveries"), ANYTHING)
        | dict.fromkeys(("notify-accepted-at", "notify-first-attempt-at", "notify-last-error"), ANYTHING)
    )
)
def test_any_headers_give_headers_that_can_be_published(headers: dict[str, Any]) -> None:
    state = read_state(headers)
    counts = (state.attempt, state.deferrals, state.replay, state.redeliveries)
    assert all(isinstance(count, int) and 0 <= count < 2**53 for count in counts)
    assert spec.BasicProperties(headers=state.to_headers()).encode()


@pytest.mark.parametrize("count", [True, -1, 2**53, 2**63 - 1, "3", 2.0, None])
def test_an_invalid_count_reads_as_zero(count: Any) -> None:
    assert read_state({"notify-attempt": count}).attempt == 0


@pytest.mark.parametrize(
    ("header", "believed", "not_believed"),
    [
        ("attempt", 1_000, 1_001),
        ("redeliveries", MOST_REDELIVERIES, MOST_REDELIVERIES + 1),
        ("replay", now_ms() + 365 * 86_400_000, 9_007_199_254_740_990),
        ("replay", 1_795_161_600_123, now_ms() + 20 * 365 * 86_400_000),
    ],
    # Without names of their own, the tests would have the time in their names, and parallel processes would differ.
    ids=["attempts", "redeliveries", "replay far ahead", "replay twenty years ahead"],
)
def test_a_count_that_this_product_could_not_have_written_is_not_believed(
    header: str, believed: int, not_believed: int
) -> None:
    read = [getattr(read_state({f"notify-{header}": count}), header) for count in (believed, not_believed)]
    assert read == [believed, 0]


def test_no_more_redeliveries_are_written_than_are_believed() -> None:
    state = DeliveryState(redeliveries=MOST_REDELIVERIES + 5)
    assert read_state(state.to_headers()).redeliveries == MOST_REDELIVERIES


def test_without_a_client_the_headers_are_those_of_version_1() -> None:
    assert DeliveryState(accepted_at="2026-01-01T00:00:00.000Z").to_headers().keys() == {
        "notify-accepted-at",
        "notify-attempt",
        "notify-deferrals",
        "notify-replay",
    }


@pytest.mark.parametrize("headers", [None, {}])
def test_a_message_without_headers_begins_at_zero(headers: dict[str, Any] | None) -> None:
    assert read_state(headers) == DeliveryState()


def test_a_time_of_many_kilobytes_does_not_travel_on() -> None:
    assert read_state({"notify-first-attempt-at": "2" * 100_000}).first_attempt_at == ""


@given(st.text(max_size=2_000))
def test_an_error_is_cut_to_a_kibibyte_of_whole_characters(text: str) -> None:
    raw = cut(text).encode()
    assert len(raw) <= ERROR_BYTES
    assert len(raw) > ERROR_BYTES - 4 or raw == text.encode("utf-8", "replace")


def test_an_error_with_a_lone_surrogate_can_be_sent() -> None:
    assert cut("token \ud800 refused").encode() == b"token ? refused"


def test_a_life_begins_when_it_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", time_ns_from(LATER_MS))
    headers = {"notify-accepted-at": "2026-01-01T00:00:00.500Z"}
    assert Received.read(make_incoming(headers=headers)).accepted_ms == 1_767_225_600_500


def test_without_a_time_of_acceptance_a_life_begins_at_the_amqp_timestamp_or_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time_ns", time_ns_from(LATER_MS))
    stamped = make_incoming()
    stamped.timestamp_ms = 1_767_225_600_000
    assert Received.read(stamped).accepted_ms == 1_767_225_600_000
    before_ms = now_ms()
    assert before_ms <= Received.read(make_incoming()).accepted_ms <= now_ms()


@pytest.mark.parametrize("timestamp_s", [1_767_225_600_000, 2**63 - 1])
def test_a_timestamp_in_milliseconds_does_not_make_a_life_endless(timestamp_s: int) -> None:
    incoming = make_incoming()
    incoming.timestamp_ms = timestamp_s * 1000
    accepted_ms = Received.read(incoming).accepted_ms
    assert accepted_ms <= now_ms()
    assert rfc3339(accepted_ms)


def test_a_header_cannot_make_a_message_look_harmless() -> None:
    assert redeliveries(make_incoming(delivery_count=5, headers={"notify-redeliveries": -100})) == 5
    assert redeliveries(make_incoming(delivery_count=5, headers={"notify-redeliveries": 2})) == 7


@pytest.mark.parametrize("count", [50, MOST_REDELIVERIES + 1, 2**62, True, "9", 8.0])
def test_a_header_alone_does_not_make_a_message_poison(count: Any) -> None:
    assert not is_suspect(make_incoming(headers={"notify-redeliveries": count}))
