"""Serves what became of notifications: ``GET /notifications``, ``/notifications/{request_id}`` and the counts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal

from flask import request
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StrictInt
from werkzeug.routing import BaseConverter

from gateway.api.inbox import BAD_PATH, MOST_USER_ID_CHARS, USER_ID, UserIdInPath, owner_of
from gateway.http.auth import Reader
from gateway.http.endpoint import Answer, PathField, Resource
from gateway.http.errors import problem_for
from gateway.http.problem import Problem
from gateway.http.validated import IN_QUERY, RequestModel, query_of
from gateway.timeline.answers import (
    STATE_EXAMPLE,
    STATS_EXAMPLE,
    TIMELINE_EXAMPLE,
    DeliveryPage,
    Stats,
    TimelineAnswer,
)
from gateway.timeline.timelines import Timelines
from shared.clock import now_ms
from shared.errors import StoreUnavailable
from shared.message.envelope import ChannelName, rfc3339_time
from shared.message.identity import CLIENT_PATTERN
from shared.message.text import identifier
from shared.store.timeline.rows import Status, Wanted

MOST_LISTED = 100
#: Longest time that one count looks at, and the usual one, milliseconds.
MOST_COUNTED_MS, COUNTED_MS = 31 * 86_400_000, 86_400_000


class RequestIdInPath(BaseConverter):
    """Matches an id unless it names an operation: GET on /notifications/batch is a wrong method, not a missing id."""

    regex = "(?!batch$)[^/]+"


resource = Resource[Timelines](
    "timeline",
    "Look up what became of notifications. A caller sees those of its own client; with the scope `operate` it sees all",
    converters={"user_id": UserIdInPath, "request_id": RequestIdInPath},
)

_ID = re.compile("[A-Za-z0-9_.:-]{1,128}")
_REQUEST_ID = PathField(
    "the `request_id` of the notification", {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"}
)
Client = Annotated[str, Field(pattern=f"^{CLIENT_PATTERN}$")]
Time = Annotated[AwareDatetime, BeforeValidator(rfc3339_time)]


class OneClient(RequestModel):
    """Describes the query for one notification."""

    client: Client | None = Field(
        None, description="The client that sent it, if several have used the id; `anonymous` for senders without a key."
    )


class Selection(OneClient):
    """Describes what a list or a count selects."""

    channel: ChannelName | None = Field(None, description="Only this channel.")
    status: Status | None = Field(None, description="Only those that stand there.")
    priority: Literal["high", "medium", "low"] | None = Field(None, description="Only those of this priority.")
    type: Literal["info", "success", "warning", "error"] | None = Field(None, description="Only those of this type.")
    since: Time | None = Field(None, alias="from", description="Only those that were accepted then or later.")
    until: Time | None = Field(None, alias="to", description="Only those that were accepted before.")

    def wanted(self, reader: Reader, user_id: str | None = None, request_id: str | None = None) -> Wanted:
        """Returns the selection, of what the reader may see. Raises Problem 403."""
        return Wanted(
            client=reader.chosen(self.client),
            user_id=user_id,
            request_id=request_id,
            channel=self.channel,
            status=self.status,
            priority=self.priority,
            type=self.type,
            since_ms=None if self.since is None else round(self.since.timestamp() * 1000),
            until_ms=None if self.until is None else round(self.until.timestamp() * 1000),
        )


class PartOfList(Selection):
    """Describes a part of a list."""

    cursor: Annotated[str, Field(max_length=1024)] | None = Field(None, description="The `next` of the part before.")
    limit: Annotated[StrictInt, Field(ge=1, le=MOST_LISTED), IN_QUERY] = Field(
        20, description="Show at most this many."
    )


class Listing(PartOfList):
    """Describes the query of the list of all notifications."""

    user_id: Annotated[str, Field(min_length=1, max_length=MOST_USER_ID_CHARS), AfterValidator(identifier)] | None = (
        Field(None, description="Only those to this user.")
    )
    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")] | None = Field(
        None, description="Only those with this request_id."
    )


_STORE_AWAY = Answer(
    503,
    "The database does not answer, or too many requests wait for it. You may send the same request again.",
    problem_for(StoreUnavailable()),
)
_ABSENT = Answer(
    404,
    "Nothing is known of this notification: it was never accepted, is too old, or was accepted only just now.",
    Problem(404, "no notification order-1027", [("request_id", "nothing is known of it")]),
)
_BAD_QUERY = Answer(
    422,
    "The query is not valid; every bad field is named.",
    Problem(422, "the query is not valid", [("limit", "must be at most 100"), ("page", "unknown field")]),
)
_PAGE = DeliveryPage(items=[STATE_EXAMPLE], next=None)


@resource.endpoint(
    "GET",
    "/notifications",
    scope="send",
    reads=True,
    query=Listing,
    answers=[Answer(200, "A part of the list, newest first.", _PAGE), _BAD_QUERY, _STORE_AWAY],
)
def list_notifications(timelines: Timelines, reader: Reader) -> DeliveryPage:
    """List notifications, one item for each channel, newest first."""
    query = query_of(request, Listing)
    return timelines.page(query.wanted(reader, query.user_id, query.request_id), query.cursor, query.limit)


@resource.endpoint(
    "GET",
    "/notifications/stats",
    scope="send",
    reads=True,
    query=Selection,
    answers=[
        Answer(200, "The counts; of the last 24 hours if no time is given, of 31 days at most.", STATS_EXAMPLE),
        _BAD_QUERY,
        _STORE_AWAY,
    ],
)
def count_notifications(timelines: Timelines, reader: Reader) -> Stats:
    """Count notifications by channel, status, priority, type and hour, and tell how long they took."""
    wanted = query_of(request, Selection).wanted(reader)
    until_ms = now_ms() + 1 if wanted.until_ms is None else wanted.until_ms
    since_ms = until_ms - COUNTED_MS if wanted.since_ms is None else wanted.since_ms
    if since_ms >= until_ms:
        raise Problem(422, "the query is not valid", [("from", "must be before `to`")])
    if until_ms - since_ms > MOST_COUNTED_MS:
        raise Problem(422, "the query is not valid", [("from", "must be at most 31 days before `to`")])
    return timelines.stats(replace(wanted, since_ms=since_ms, until_ms=until_ms), since_ms, until_ms)


@resource.endpoint(
    "GET",
    "/notifications/<request_id:request_id>",
    scope="send",
    reads=True,
    path_fields={"request_id": _REQUEST_ID},
    query=OneClient,
    answers=[
        Answer(200, "Where it stands on each channel, and what has happened.", TIMELINE_EXAMPLE),
        _ABSENT,
        Answer(
            422,
            "The query is not valid, or several clients have used the id and none is named.",
            Problem(422, "several clients have used this request_id", [("client", "name one of crm, shop")]),
        ),
        _STORE_AWAY,
    ],
)
def show_timeline(timelines: Timelines, request_id: str, reader: Reader) -> TimelineAnswer:
    """Show what became of one notification. `GET /notifications?request_id=` finds also `stats` and `batch`."""
    client = reader.chosen(query_of(request, OneClient).client)
    found = timelines.of_request(request_id, client) if _ID.fullmatch(request_id) else None
    if found is None:
        raise Problem(404, "no such notification", [("request_id", "nothing is known of it")])
    return found


@resource.endpoint(
    "GET",
    "/users/<user_id:user_id>/notifications",
    scope="send",
    reads=True,
    path_fields={"user_id": USER_ID},
    query=PartOfList,
    answers=[Answer(200, "A part of the list, newest first.", _PAGE), BAD_PATH, _STORE_AWAY],
)
def list_notifications_of_user(timelines: Timelines, user_id: str, reader: Reader) -> DeliveryPage:
    """List the notifications to one user, on all channels, newest first."""
    query = query_of(request, PartOfList)
    return timelines.page(query.wanted(reader, owner_of(user_id).user_id), query.cursor, query.limit)
