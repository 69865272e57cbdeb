"""Serves ``/failed``: lets operators look at undeliverable messages, replay them and discard them.

A caller waits until its operation has ended, in a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop
from flask import request
from pydantic import BaseModel, Field, StrictBool
from werkzeug.datastructures import MultiDict
from werkzeug.routing import BaseConverter

from gateway.http.body import read_json
from gateway.http.endpoint import Answer, Body, PathField, Resource
from gateway.http.errors import problem_for
from gateway.http.problem import Problem
from shared.errors import BrokerUnavailable, InvalidSelection, Locked
from shared.failed.queue import FailedQueue
from shared.failed.results import FailedItem, FailedList, FailedMessage, FailedOutcome, SkippedMessage
from shared.failed.selection import Listing, ReplaySelection, Selection, parse_discard, parse_listing, parse_replay
from shared.message.envelope import MAX_BODY_BYTES

T = TypeVar("T")


class FailedId(BaseConverter):
    """Matches the rest of the path unless it names an operation: GET on an operation is a wrong method (405), not a
    missing id (404).
    """

    regex = "(?!(?:replay|discard)$)[^/]+"


resource = Resource[FailedQueue](
    "failed",
    "Look at undeliverable messages, replay them or discard them; for operators",
    converters={"failed_id": FailedId},
)


class Showing(BaseModel):
    """Describes the query of one message."""

    reveal: StrictBool = Field(False, description="show addresses and variables in full; this is logged")


_ID = "5f0c6bd7c1f34f2f9a7b7c1d2e3f4a5b"
_ITEM = FailedItem(
    id=_ID,
    request_id="order-1027-shipped",
    channel="push",
    lane="high",
    reason="attempts_exhausted",
    error="fcm 503 UNAVAILABLE",
    provider="fcm",
    attempts=8,
    first_attempt_at="2030-01-01T12:00:00.123Z",
    failed_at="2030-01-01T13:07:31.456Z",
    queue="push.high.queue",
    body_bytes=214,
)
_MESSAGE = FailedMessage(
    **_ITEM.model_dump(),
    envelope={
        "request_id": "order-1027-shipped",
        "notification_type": "push",
        "recipient": {"push_tokens": ["***f7"]},
        "template_code": "PRODUCT_UPDATE",
        "variables": {"name": "***", "link": "***"},
        "priority": "high",
    },
    unreadable=None,
)
_EXPIRED = SkippedMessage(id=_ID, reason="expired", detail="expires_at was 2030-01-01T12:00:00+00:00")

_REFUSALS = (
    Answer(
        409,
        "Another operation on `failed.queue` is in progress; only one at a time is possible. Try again later.",
        problem_for(Locked()),
    ),
    Answer(
        422,
        "The selection of messages is not valid; every bad field is named.",
        problem_for(
            InvalidSelection([("older_than", "must be a whole number and its unit, as in 90s, 15m, 2h or 3d")])
        ),
    ),
    Answer(
        503,
        "The broker does not answer; the messages stay in `failed.queue` or return to it.",
        problem_for(BrokerUnavailable()),
    ),
)


@resource.endpoint(
    "GET",
    "/failed",
    scope="operate",
    query=Listing,
    answers=[
        Answer(
            200,
            "The matching messages; the queue is not changed.",
            FailedList(
                items=[_ITEM],
                scanned=3,
                waiting=3,
                matched=1,
                reasons={"attempts_exhausted": 1},
                truncated=False,
            ),
        ),
        *_REFUSALS,
    ],
)
def list_failed(queue: FailedQueue, client: str) -> FailedList:
    """List failed messages, oldest first."""
    return _run(queue.list(parse_listing(_listing_fields(request.args))))


@resource.endpoint(
    "GET",
    "/failed/<failed_id:failed_id>",
    scope="operate",
    path_fields={"failed_id": PathField("the `id` of an item of the list")},
    query=Showing,
    answers=[
        Answer(200, "The message.", _MESSAGE),
        Answer(
            404,
            "There is no such message, or 30 s were not enough to reach it.",
            Problem(404, f"no failed message {_ID}"),
        ),
        *_REFUSALS,
    ],
)
def show_failed(queue: FailedQueue, client: str, failed_id: str) -> FailedMessage:
    """Show one failed message."""
    shown = _run(queue.show(failed_id, reveal=_showing(request.args).reveal, operator=client))
    if shown is None:
        raise Problem(404, f"no failed message {failed_id}")
    return shown


@resource.endpoint(
    "POST",
    "/failed/replay",
    scope="operate",
    body=Body(
        ReplaySelection,
        {
            "by_reason": {"channel": "push", "reason": "attempts_exhausted"},
            "by_id": {"ids": [_ID], "ignore_expiry": True},
        },
    ),
    answers=[
        Answer(
            200,
            "The messages have been published again, each to its original lane; those skipped are named.",
            FailedOutcome(matched=3, done=2, dry_run=False, skipped=[_EXPIRED], missing=[], truncated=False),
        ),
        *_REFUSALS,
    ],
)
def replay_failed(queue: FailedQueue, client: str) -> FailedOutcome:
    """Send failed messages again."""
    return _run(queue.replay(parse_replay(read_json(request, MAX_BODY_BYTES)), operator=client))


@resource.endpoint(
    "POST",
    "/failed/discard",
    scope="operate",
    body=Body(
        Selection,
        {"old": {"older_than": "30d", "reason": "recipient_invalid"}, "dry_run": {"all": True, "dry_run": True}},
    ),
    answers=[
        Answer(
            200,
            "The messages have been deleted; they cannot be restored.",
            FailedOutcome(matched=3, done=3, dry_run=False, skipped=[], missing=[], truncated=False),
        ),
        *_REFUSALS,
    ],
)
def discard_failed(queue: FailedQueue, client: str) -> FailedOutcome:
    """Delete failed messages."""
    return _run(queue.discard(parse_discard(read_json(request, MAX_BODY_BYTES)), operator=client))


def _run(operation: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(operation)


def _listing_fields(query: MultiDict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = _once(query)
    limit = fields.get("limit", "")
    if limit.isascii() and limit.isdigit() and len(limit) < 10:
        fields["limit"] = int(limit)
    return fields


def _showing(query: MultiDict[str, str]) -> Showing:
    fields = _once(query)
    reveal = fields.pop("reveal", "false")
    problems = [(name, "unknown field") for name in fields]
    if reveal not in ("true", "false"):
        problems.append(("reveal", "must be true or false"))
    if problems:
        raise Problem(422, "the query is not valid", problems)
    return Showing(reveal=reveal == "true")


def _once(query: MultiDict[str, str]) -> dict[str, str]:
    """Returns every parameter with its value. Raises InvalidSelection if a parameter is given more than once."""
    problems = [(name, "given more than once") for name, values in query.lists() if len(values) > 1]
    if problems:
        raise InvalidSelection(problems)
    return query.to_dict()
