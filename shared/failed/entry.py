"""Writes and reads the headers of a message in failed.queue.

A worker writes ``notify-failed-*`` headers (``failed_headers``). A message that the broker itself dead-lettered has
only the broker's ``x-death``. ``read_entry`` understands both. Any program can publish directly to a queue, with any
headers: a header that is not as expected reads as unknown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import orjson

from shared.broker.incoming import Incoming
from shared.broker.topology import EXCHANGE, FAILED_EXCHANGE
from shared.clock import now_ms, parse_rfc3339, rfc3339
from shared.message.channels import Lane, lane_by_queue, lane_by_routing_key
from shared.message.headers import MOST_ATTEMPTS, DeliveryState, cut, read_state
from shared.message.outcome import Dead, DeadReason

#: The broker's reasons for messages that it dead-lettered, except those that a worker gives too (``delivery_limit``,
#: ``expired``), ``unroutable`` for a message with a routing key that leads to no lane, and ``unknown`` for one that was
#: published directly to failed.queue.
BrokerReason = Literal["rejected", "maxlen", "unroutable", "unknown"]
REASONS: frozenset[str] = frozenset((*get_args(DeadReason), *get_args(BrokerReason)))

#: The end of the year 9999: some publishers write milliseconds where AMQP expects seconds.
_LATEST_MS = 253_402_300_799_000
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
#: One more than the largest number of attempts that is read from a message on its lane.
_MOST_ATTEMPTS = MOST_ATTEMPTS + 1


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """Holds what is known about a failed message, without its content; None or '' where nothing is known."""

    id: str
    request_id: str | None
    #: The sender in whose namespace the request_id is, '' if it is not known.
    client: str
    lane: Lane | None
    reason: str
    error: str
    provider: str
    attempts: int
    first_attempt_at: str
    failed_at: str
    queue: str
    body_bytes: int
    #: The message's attempt, replay and timestamps when it failed.
    state: DeliveryState

    @property
    def failed_at_ms(self) -> int | None:
        return parse_rfc3339(self.failed_at) if self.failed_at else None

    def age_order(self) -> tuple[bool, int]:
        """Returns a sort key: the oldest first, and entries with an unknown time last."""
        at_ms = self.failed_at_ms
        return at_ms is None, at_ms or 0


def failed_headers(incoming: Incoming, state: DeliveryState, accepted_ms: int, outcome: Dead) -> dict[str, Any]:
    """Returns the headers with which a message goes to failed.queue; it copies none of the old headers.

    ``notify-failed-id`` stays the same when the same outcome is published again, for example after a crash.
    """
    headers: dict[str, Any] = {
        "notify-failed-id": _failed_id(incoming, state, outcome),
        "notify-failed-reason": outcome.reason,
        "notify-failed-error": cut(outcome.error),
        "notify-failed-provider": outcome.provider,
        "notify-failed-attempts": state.attempt + outcome.counted,
        "notify-failed-queue": incoming.lane.queue,
        "notify-failed-at": rfc3339(now_ms()),
        "notify-accepted-at": rfc3339(accepted_ms),
        "notify-replay": state.replay,
    }
    if state.first_attempt_at:
        headers["notify-first-attempt-at"] = state.first_attempt_at
    if state.client:
        headers["notify-client"] = state.client
    return headers


def read_entry(
    body: bytes,
    headers: Mapping[str, Any],
    routing_key: str = "",
    timestamp_ms: int | None = None,
    exchange: str = FAILED_EXCHANGE,
) -> FailedEntry:
    """Returns what is known about a failed message. It raises nothing, for any body and any headers.

    ``exchange`` is the one to which it was published. Only its alternate exchange leads from EXCHANGE to failed.queue,
    so such a message had an unknown routing key, and its headers are its publisher's.
    """
    if exchange == EXCHANGE:
        return _unroutable(body, headers, routing_key, timestamp_ms)
    death = _newest_death(headers)
    state = read_state(headers)
    given_id = _text(headers, "notify-failed-id")
    queue = _text(headers, "notify-failed-queue") or _text(death, "queue")
    attempts = headers.get("notify-failed-attempts")
    return FailedEntry(
        id=given_id if _ID.fullmatch(given_id) else _derived_id(body, death),
        request_id=_request_id(body),
        client=state.client,
        # A failed message keeps its routing key; without a queue in the headers, that is all that is known.
        lane=lane_by_queue(queue) if queue else lane_by_routing_key(routing_key),
        reason=_text(headers, "notify-failed-reason") or _text(death, "reason") or "unknown",
        error=_text(headers, "notify-failed-error") or state.last_error,
        provider=_text(headers, "notify-failed-provider"),
        attempts=attempts if type(attempts) is int and 0 <= attempts <= _MOST_ATTEMPTS else state.attempt,
        first_attempt_at=state.first_attempt_at,
        failed_at=_text(headers, "notify-failed-at") or _time(death) or _published_at(timestamp_ms),
        queue=queue,
        body_bytes=len(body),
        state=state,
    )


def _failed_id(incoming: Incoming, state: DeliveryState, outcome: Dead) -> str:
    life = f"{incoming.message_id}|{incoming.lane.queue}|{state.replay}|{state.attempt}|{outcome.reason}|{state.client}"
    return hashlib.sha256(life.encode() + incoming.body).hexdigest()[:32]


def _unroutable(body: bytes, headers: Mapping[str, Any], routing_key: str, timestamp_ms: int | None) -> FailedEntry:
    state = DeliveryState(client=read_state(headers).client)
    return FailedEntry(
        id=hashlib.sha256(f"{routing_key}|{timestamp_ms}|{state.client}|".encode() + body).hexdigest()[:32],
        request_id=_request_id(body),
        client=state.client,
        lane=None,
        reason="unroutable",
        error=f"no queue is bound to {EXCHANGE} with the routing key {routing_key!r}",
        provider="",
        attempts=0,
        first_attempt_at="",
        failed_at=_published_at(timestamp_ms),
        queue="",
        body_bytes=len(body),
        state=state,
    )


def _newest_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    # The first is the newest. ``x-first-death-reason`` is ``expired`` for every message that ever passed the ladder.
    deaths = headers.get("x-death")
    newest = deaths[0] if isinstance(deaths, list) and deaths else None
    return newest if isinstance(newest, dict) else {}


def _derived_id(body: bytes, death: Mapping[str, Any]) -> str:
    return hashlib.sha256(body + _time(death).encode()).hexdigest()[:16]


def _time(death: Mapping[str, Any]) -> str:
    at = death.get("time")
    return rfc3339(round(at.timestamp() * 1000)) if isinstance(at, datetime) else ""


def _published_at(timestamp_ms: int | None) -> str:
    return rfc3339(timestamp_ms) if timestamp_ms and timestamp_ms <= _LATEST_MS else ""


def _text(headers: Mapping[str, Any], name: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else ""


def _request_id(body: bytes) -> str | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    value = document.get("request_id") if isinstance(document, dict) else None
    return value if isinstance(value, str) else None
