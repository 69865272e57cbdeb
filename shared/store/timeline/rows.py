"""Defines what the timeline's tables hold and what is asked of them, as values. Times are milliseconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

Status = Literal["pending", "sent", "delivered", "read", "failed", "skipped", "expired"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Delivery(NamedTuple):
    """Says where a notification stands on one channel. A time that is None has not come.

    ``created_ms`` is its acceptance. ``provider`` is that of the last call, ``reason`` and ``detail`` are of the last
    thing that failed, and may be older than a success.
    """

    request_id: str
    client: str
    channel: str
    user_id: str
    priority: str
    type: str
    status: Status
    attempts: int
    created_ms: int
    updated_ms: int
    provider: str | None
    reason: str | None
    detail: str | None
    next_try_ms: int
    sent_ms: int | None
    delivered_ms: int | None
    read_ms: int | None
    latency_ms: int | None
    republished: int


class Told(NamedTuple):
    """Is one event as it is kept."""

    request_id: str
    client: str
    channel: str
    kind: str
    at_ms: int
    replay: int
    attempt: int
    provider: str | None
    code: str | None
    ms: int | None
    reason: str | None
    detail: str | None
    next_try_ms: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Selects deliveries; None means any. ``since_ms`` belongs to the selection, ``until_ms`` does not."""

    client: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    channel: str | None = None
    status: str | None = None
    priority: str | None = None
    type: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class Cursor(NamedTuple):
    """Names the last delivery of a part of a list, which is ordered by these, descending."""

    created_ms: int
    request_id: str
    client: str
    channel: str


@dataclass(frozen=True, slots=True)
class Part:
    """Holds a part of a list, newest first. ``next`` is where to go on, None after the last part."""

    items: tuple[Delivery, ...]
    next: Cursor | None


class Count(NamedTuple):
    """Counts the deliveries that were accepted in one hour and have all else in common."""

    hour_ms: int
    channel: str
    status: str
    priority: str
    type: str
    number: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Holds the counts of a time, and how long deliveries took: (channel, milliseconds, how many)."""

    counts: tuple[Count, ...]
    latencies: tuple[tuple[str, int, int], ...]


class Overdue(NamedTuple):
    """Holds what is needed to publish a notification again. ``place`` is its replay * 1024 + its next attempt."""

    request_id: str
    client: str
    channel: str
    priority: str
    created_ms: int
    place: int
    body: str
