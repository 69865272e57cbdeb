"""Defines what the HTTP API answers about the timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from gateway.http.answers import AnswerModel
from shared.clock import rfc3339
from shared.events.event import Kind
from shared.store.timeline.rows import Delivery, Status, Told


class Attempt(AnswerModel):
    """Tells of one call to a provider."""

    at: Annotated[str, Field(description="when the call began")]
    provider: str | None
    code: Annotated[str | None, Field(description="`accepted`, or the provider's code")]
    ms: Annotated[int | None, Field(description="how long the call took")]
    reason: Annotated[str | None, Field(description="what the refusal means; null if it was accepted")]
    detail: str | None
    next_try_at: Annotated[str | None, Field(description="when it is tried again, if it is")]


class TimelineEvent(AnswerModel):
    """Tells one thing that happened."""

    kind: Kind
    at: str
    attempt: Annotated[int, Field(description="counted from 0 in each life; a replay begins a new one")]
    provider: str | None
    reason: str | None
    detail: str | None


class DeliveryItem(AnswerModel):
    """Says where a notification stands on one channel."""

    request_id: str
    client: Annotated[str | None, Field(description="who sent it; null without API keys")]
    channel: str
    status: Status
    user_id: str | None
    priority: str | None
    type: str | None
    attempts: Annotated[int, Field(description="how many calls reached a provider")]
    provider: Annotated[str | None, Field(description="the provider of the last call")]
    last_error: Annotated[
        str | None, Field(description="why the last thing that failed did so; it may be older than a success")
    ]
    accepted_at: str
    updated_at: str
    sent_at: str | None
    delivered_at: Annotated[str | None, Field(description="when the vendor told of the delivery, if it does")]
    read_at: str | None
    next_try_at: str | None


class ChannelTimeline(DeliveryItem):
    """Adds every attempt and every event, the oldest first."""

    timeline: list[TimelineEvent]
    tries: list[Attempt]


class TimelineAnswer(AnswerModel):
    """Tells what became of a notification, on each of its channels."""

    request_id: str
    client: str | None
    channels: list[ChannelTimeline]


class DeliveryPage(AnswerModel):
    """Holds a part of the list, newest first."""

    items: list[DeliveryItem]
    next: Annotated[str | None, Field(description="the `cursor` of the next part; null after the last one")]


class Latency(AnswerModel):
    """Says within how many milliseconds of the acceptance the provider accepted so many of a hundred."""

    count: int
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None


class HourCount(AnswerModel):
    """Counts the deliveries that were accepted in one hour."""

    hour: Annotated[str, Field(description="when the hour began")]
    count: int
    by_status: dict[Status, int]


class Stats(AnswerModel):
    """Counts deliveries: one for each notification and channel."""

    since: str
    until: str
    total: int
    by_channel: dict[str, int]
    by_status: dict[Status, int]
    by_priority: dict[str, int]
    by_type: dict[str, int]
    by_hour: list[HourCount]
    latency: Annotated[Latency, Field(description="from the acceptance to the provider's yes; two digits are exact")]
    latency_by_channel: dict[str, Latency]


def state_of(row: Delivery) -> DeliveryItem:
    return DeliveryItem(**_fields(row))


def timeline_of(row: Delivery, told: Sequence[Told]) -> ChannelTimeline:
    """Returns where a delivery stands, with what was told of it, the oldest first."""
    own = [one for one in told if (one.client, one.channel) == (row.client, row.channel)]
    return ChannelTimeline(**_fields(row), timeline=[_event(one) for one in own], tries=list(_tries(own)))


def shown_client(client: str) -> str | None:
    """Returns the name of a client as callers see it; null stands for the senders without a key."""
    return client or None


def _fields(row: Delivery) -> dict[str, Any]:
    waits = row.status == "pending" and row.next_try_ms
    return {
        "request_id": row.request_id,
        "client": shown_client(row.client),
        "channel": row.channel,
        "status": row.status,
        "user_id": row.user_id or None,
        "priority": row.priority or None,
        "type": row.type or None,
        "attempts": row.attempts,
        "provider": row.provider or None,
        "last_error": _error(row.reason, row.detail),
        "accepted_at": rfc3339(row.created_ms),
        "updated_at": rfc3339(row.updated_ms),
        "sent_at": _time(row.sent_ms),
        "delivered_at": _time(row.delivered_ms),
        "read_at": _time(row.read_ms),
        "next_try_at": _time(row.next_try_ms if waits else None),
    }


def _tries(told: Iterable[Told]) -> Iterable[Attempt]:
    """Yields the calls; the retry that followed tells of the last of them when it is tried again."""
    waiting: Attempt | None = None
    for one in told:
        if one.kind == "attempted":
            if waiting is not None:
                yield waiting
            waiting = Attempt(
                at=rfc3339(one.at_ms),
                provider=one.provider or None,
                code=one.code or None,
                ms=one.ms,
                reason=one.reason or None,
                detail=one.detail or None,
                next_try_at=None,
            )
        elif waiting is not None:
            yield waiting.model_copy(update={"next_try_at": _time(one.next_try_ms)})
            waiting = None
    if waiting is not None:
        yield waiting


def _event(one: Told) -> TimelineEvent:
    return TimelineEvent(
        kind=one.kind,  # type: ignore[arg-type]  # pydantic checks it
        at=rfc3339(one.at_ms),
        attempt=one.attempt,
        provider=one.provider or None,
        reason=one.reason or None,
        detail=one.detail or None,
    )


def _error(reason: str | None, detail: str | None) -> str | None:
    return f"{reason}: {detail}" if reason and detail else reason or None


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


_EXAMPLE_ROW = Delivery(
    request_id="order-1027-shipped",
    client="shop",
    channel="push",
    user_id="user_id1",
    priority="high",
    type="info",
    status="sent",
    attempts=2,
    created_ms=1_795_161_600_000,
    updated_ms=1_795_161_605_240,
    provider="fcm",
    reason="unavailable",
    detail="fcm 503 UNAVAILABLE",
    next_try_ms=1_795_161_605_123,
    sent_ms=1_795_161_605_240,
    delivered_ms=None,
    read_ms=None,
    latency_ms=5_240,
    republished=0,
)


def _example(kind: str, at_ms: int, attempt: int = 0, **more: Any) -> Told:
    fields: dict[str, object] = {
        "provider": "",
        "code": "",
        "ms": None,
        "reason": "",
        "detail": "",
        "next_try_ms": None,
    }
    key = ("order-1027-shipped", "shop", "push", kind, 1_795_161_600_000 + at_ms, 0, attempt)
    return Told(*key, **{**fields, **more})


_EXAMPLE_TOLD = (
    _example("accepted", 0),
    _example(
        "attempted",
        12,
        provider="fcm",
        code="503 UNAVAILABLE",
        ms=31,
        reason="unavailable",
        detail="fcm 503 UNAVAILABLE",
    ),
    _example(
        "retrying",
        43,
        provider="fcm",
        reason="provider_unavailable",
        detail="fcm 503 UNAVAILABLE",
        next_try_ms=1_795_161_605_043,
    ),
    _example("attempted", 5_210, 1, provider="fcm", code="accepted", ms=30),
    _example("sent", 5_240, 1, provider="fcm"),
)
STATE_EXAMPLE = state_of(_EXAMPLE_ROW)
TIMELINE_EXAMPLE = TimelineAnswer(
    request_id="order-1027-shipped", client="shop", channels=[timeline_of(_EXAMPLE_ROW, _EXAMPLE_TOLD)]
)
_LATENCY = Latency(count=40, p50_ms=14, p95_ms=90, p99_ms=5200)
STATS_EXAMPLE = Stats(
    since="2026-11-20T08:00:00.000Z",
    until="2026-11-20T09:00:00.000Z",
    total=41,
    by_channel={"push": 41},
    by_status={"sent": 40, "pending": 1},
    by_priority={"high": 41},
    by_type={"info": 41},
    by_hour=[HourCount(hour="2026-11-20T08:00:00.000Z", count=41, by_status={"sent": 40, "pending": 1})],
    latency=_LATENCY,
    latency_by_channel={"push": _LATENCY},
)
