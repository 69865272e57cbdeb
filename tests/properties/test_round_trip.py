"""A worker reads what a caller wrote: through the gateway's checks, an AMQP frame, and the queue's reader."""

from __future__ import annotations

import json
from typing import Any, cast

from hypothesis import assume, given
from hypothesis import strategies as st
from pika import spec

from gateway.accept.candidate import Candidate, candidate_from
from gateway.http.problem import Problem
from gateway.http.strict_json import parse_json
from shared.clock import rfc3339
from shared.message.envelope import parse_queued, validate_envelope
from shared.message.headers import MOST_REDELIVERIES, DeliveryState, read_state
from shared.message.identity import body_hash
from tests.support.envelopes import ENVELOPES

COUNTS = st.integers(0, 2**53 - 2)
TIMES = st.integers(0, 4_000_000_000_000).map(rfc3339)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
TRAVELS = st.builds(
    DeliveryState,
    accepted_at=TIMES,
    attempt=st.integers(0, 1_000),
    deferrals=COUNTS,
    replay=st.integers(0, 1_700_000_000_000),
    first_attempt_at=TIMES | st.just(""),
    last_error=TEXTS,
    ignore_expiry=st.booleans(),
    redeliveries=st.integers(0, MOST_REDELIVERIES),
    client=st.just("") | st.from_regex(r"\A[A-Za-z0-9_.-]{1,64}\Z"),
    unclaimed=st.booleans(),
)


def through_a_frame(headers: dict[str, Any]) -> dict[str, Any]:
    """Returns the headers as the broker delivers them."""
    payload = b"".join(spec.BasicProperties(headers=headers).encode())
    return cast("dict[str, Any]", spec.BasicProperties().decode(payload).headers)


def accepted(document: dict[str, Any], ascii_only: bool) -> Candidate:
    """Returns the candidate that the gateway makes of the caller's bytes."""
    try:
        return candidate_from(parse_json(json.dumps(document, ensure_ascii=ascii_only).encode()))
    except Problem as problem:
        # It is valid, but lacks a title or an address that one of its channels needs.
        assume(problem.status != 422)
        raise


@given(ENVELOPES, st.booleans(), TIMES)
def test_what_was_accepted_is_what_a_worker_reads(document: dict[str, Any], ascii_only: bool, now: str) -> None:
    candidate = accepted(document, ascii_only)
    written = validate_envelope(document, extra="forbid")
    named = {"channels", "notification_type"}
    for (lane, body), publication in zip(candidate.parts, candidate.publications(now), strict=True):
        assert publication.body == body
        read = parse_queued(body, lane.channel)
        assert read.body_for(lane.channel) == body
        assert read.model_dump(exclude=named) == written.model_dump(exclude=named)
        assert (read.targets, read.lane_priority) == ((lane.channel,), lane.priority)
        assert read_state(through_a_frame(publication.headers)) == DeliveryState(accepted_at=now)


def turned(value: Any) -> Any:
    """Returns the same document with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


@given(ENVELOPES, st.booleans())
def test_the_same_document_is_the_same_message_however_it_was_written(
    document: dict[str, Any], ascii_only: bool
) -> None:
    one, other = accepted(document, ascii_only), accepted(turned(document), not ascii_only)
    assert one == other
    assert [body_hash(body) for _, body in one.parts] == [body_hash(body) for _, body in other.parts]


@given(TRAVELS)
def test_where_a_message_is_in_its_life_survives_any_number_of_hops(state: DeliveryState) -> None:
    once = read_state(through_a_frame(state.to_headers()))
    assert once == state
    assert read_state(through_a_frame(once.to_headers())) == state
