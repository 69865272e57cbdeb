"""Serves ``/users/{user_id}/inbox``: lists a user's notifications, and marks and deletes them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from flask import request
from pydantic import ConfigDict, Field, StrictBool, StrictInt, model_validator
from werkzeug.routing import BaseConverter

from gateway.http.auth import Caller
from gateway.http.endpoint import Answer, Body, PathField, Resource
from gateway.http.errors import problem_for
from gateway.http.problem import Problem
from gateway.http.validated import IN_JSON, IN_QUERY, LARGEST, RequestModel, body_of, query_of
from gateway.inbox.answers import (
    EXAMPLE,
    READ_EXAMPLE,
    ChangedItem,
    DeletedItem,
    InboxChanged,
    InboxChanges,
    InboxCount,
    InboxItem,
    InboxPage,
)
from gateway.inbox.inboxes import Inboxes
from shared.errors import StoreUnavailable
from shared.message.json_schema import Schema, given, without
from shared.message.text import FORBIDDEN_IN_IDENTIFIER, identifier
from shared.store.values import Filter, Owner, Position

T = TypeVar("T")

MOST_IDS = 100
MOST_LISTED, MOST_SKIPPED = 100, 10_000
MOST_USER_ID_CHARS = 256
_POSITION = r"([0-9a-f]{8})?:([0-9]{1,16})"
#: Flask reads bytes that are not UTF-8 as this character, so different paths would name the same user.
_REPLACEMENT = "\ufffd"
_PATH_IS_BAD = "the path is not valid"


class UserIdInPath(BaseConverter):
    """Matches a user_id in a path. It may hold slashes: in a request they are written as %2F, and arrive as slashes."""

    regex = "(?s:.+?)"
    part_isolating = False


class NotificationId(BaseConverter):
    """Matches a whole number."""

    regex = "[0-9]{1,16}"

    def to_python(self, value: str) -> int:
        return int(value)


resource = Resource[Inboxes](
    "inbox",
    "Read a user's inbox and change it. An API key with the scope `operate` may do this for everybody, a user's own "
    "token for that user",
    converters={"user_id": UserIdInPath, "nid": NotificationId},
)

USER_ID = PathField(
    "the user, percent-encoded: `tenant/u 1` is written `tenant%2Fu%201`",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": MOST_USER_ID_CHARS,
        "pattern": f"^[^{FORBIDDEN_IN_IDENTIFIER}]*$",
    },
)
_NID = PathField("the `id` of an item of the list", {"type": "integer", "minimum": 1, "maximum": LARGEST})
_OF_USER = {"user_id": USER_ID}
_OF_NOTIFICATION = {"user_id": USER_ID, "nid": _NID}

Id = Annotated[StrictInt, Field(ge=1, le=LARGEST), IN_JSON]
Category = Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")]


class Listing(RequestModel):
    """Describes the query of the list."""

    status: Literal["unread", "read", "archived", "all"] = Field(
        "all", description="`unread` and `read` leave out what is archived; `all` has it."
    )
    type: Literal["info", "success", "warning", "error"] | None = Field(None, description="Only those of this type.")
    priority: Literal["high", "medium", "low"] | None = Field(None, description="Only those of this priority.")
    category: Category | None = Field(None, description="Only those of this category.")
    cursor: Annotated[StrictInt, Field(ge=1, le=LARGEST), IN_QUERY] | None = Field(
        None, description="The `next` of the part before."
    )
    limit: Annotated[StrictInt, Field(ge=1, le=MOST_LISTED), IN_QUERY] = Field(
        20, description="Show at most this many."
    )
    skip: Annotated[StrictInt, Field(ge=0, le=MOST_SKIPPED), IN_QUERY] = Field(
        0, description="Leave out this many of the newest; `cursor` is faster."
    )


class Since(RequestModel):
    """Describes the query of the changes."""

    position: Annotated[str, Field(pattern=f"^{_POSITION}$")] | None = Field(
        None, description="`<epoch>:<offset>` of the last answer; without it, the newest unread notifications come."
    )

    @property
    def parsed(self) -> Position | None:
        found = re.fullmatch(_POSITION, self.position or "")
        return None if found is None else Position(found[1] or "", int(found[2]))


def _either_mark(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [given("read"), given("archived")]


class Marks(RequestModel):
    """Says how to mark one notification; what is absent stays as it is."""

    model_config = ConfigDict(json_schema_extra=_either_mark)

    read: StrictBool | None = Field(None, description="Whether it has been read.")
    archived: StrictBool | None = Field(None, description="Whether it is archived; then it does not count as unread.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.read is None and self.archived is None:
            raise ValueError("read: required unless archived is given")
        return self


def _some_or_all(schema: dict[str, Any]) -> None:
    some: Schema = {"allOf": [given("ids"), without("upto")], "anyOf": [given("read"), given("archived")]}
    everything: Schema = {
        "allOf": [given("upto"), given("read"), without("ids"), without("archived")],
        "properties": {"read": {"const": True}},
    }
    schema["oneOf"] = [some, everything]


class ManyMarks(RequestModel):
    """Says how to mark several notifications: everything up to an id as read, or some as read or archived or not."""

    model_config = ConfigDict(json_schema_extra=_some_or_all)

    upto: Id | None = Field(
        None,
        description="Everything up to this id that is not archived. Give the newest id that the user has seen: what "
        "arrives in the meantime stays unread.",
    )
    ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_IDS)] | None = Field(
        None, description="These notifications, instead of `upto`."
    )
    read: StrictBool | None = Field(None, description="Whether they have been read; with `upto` it must be true.")
    archived: StrictBool | None = Field(None, description="Whether they are archived; not with `upto`.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.upto is None) == (self.ids is None):
            raise ValueError("upto: exactly one of upto and ids is required")
        if self.upto is not None and self.archived is not None:
            raise ValueError("archived: cannot be combined with upto")
        if self.upto is not None and self.read is not True:
            raise ValueError("read: must be true with upto")
        if self.read is None and self.archived is None:
            raise ValueError("read: required unless archived is given")
        return self


_ABSENT = Answer(
    404,
    "The user has no such notification; it may have been deleted.",
    Problem(404, "no notification 1027", [("nid", "the user has no such notification")]),
)
_STORE_AWAY = Answer(
    503,
    "The store of the inboxes does not answer, or too many requests wait for it. You may send the same request again.",
    problem_for(StoreUnavailable()),
)
BAD_PATH = Answer(
    422, "The user_id is not valid.", Problem(422, _PATH_IS_BAD, [("user_id", "must have at most 256 characters")])
)
_BAD_QUERY = Answer(
    422,
    "The user_id or the query is not valid; every bad field is named.",
    Problem(422, "the query is not valid", [("limit", "must be at most 100"), ("page", "unknown field")]),
)
_BAD_BODY = Answer(
    422,
    "The user_id or the body is not valid; every bad field is named.",
    Problem(422, "the body is not valid", [("read", "must be true or false")]),
)
_CHANGED = InboxChanged(changed=True, offset=42, unread=2)


@resource.endpoint(
    "GET",
    "/users/<user_id:user_id>/inbox",
    scope="operate",
    users=True,
    path_fields=_OF_USER,
    query=Listing,
    answers=[
        Answer(200, "A part of the list, newest first.", InboxPage(items=[EXAMPLE], next=1027, unread=3)),
        _BAD_QUERY,
        _STORE_AWAY,
    ],
)
def list_inbox(inboxes: Inboxes, user_id: str, caller: Caller) -> InboxPage:
    """List a user's notifications, newest first."""
    owner, query = owner_of(user_id), query_of(request, Listing)
    wanted = Filter(query.status, query.type, query.priority, query.category)
    return inboxes.page(owner, wanted, query.cursor, query.limit, query.skip)


@resource.endpoint(
    "PATCH",
    "/users/<user_id:user_id>/inbox",
    scope="operate",
    users=True,
    path_fields=_OF_USER,
    body=Body(
        ManyMarks,
        {"all_as_read": {"upto": 1027, "read": True}, "some_as_archived": {"ids": [1025, 1027], "archived": True}},
    ),
    answers=[Answer(200, "They are marked; every connected device is told.", _CHANGED), _BAD_BODY, _STORE_AWAY],
)
def mark_inbox(inboxes: Inboxes, user_id: str, caller: Caller) -> InboxChanged:
    """Mark all notifications up to an id as read, or mark some."""
    owner, marks = owner_of(user_id), body_of(request, ManyMarks)
    if marks.ids is None:
        return inboxes.read_all(owner, cast(int, marks.upto))
    return inboxes.mark_many(owner, marks.ids, read=marks.read, archived=marks.archived)


@resource.endpoint(
    "GET",
    "/users/<user_id:user_id>/inbox/count",
    scope="operate",
    users=True,
    path_fields=_OF_USER,
    answers=[Answer(200, "The numbers.", InboxCount(unread=3, total=41)), BAD_PATH, _STORE_AWAY],
)
def count_inbox(inboxes: Inboxes, user_id: str, caller: Caller) -> InboxCount:
    """Count a user's notifications."""
    return inboxes.count(owner_of(user_id))


@resource.endpoint(
    "GET",
    "/users/<user_id:user_id>/inbox/changes",
    scope="operate",
    users=True,
    path_fields=_OF_USER,
    query=Since,
    answers=[
        Answer(
            200,
            "What a device at this position needs; at once, even if nothing has changed.",
            InboxChanges(
                epoch="9f2c51d0",
                offset=43,
                recovered=True,
                items=[READ_EXAMPLE, DeletedItem(id=1025, offset=43, deleted=True)],
                more=False,
                unread=2,
            ),
        ),
        _BAD_QUERY,
        _STORE_AWAY,
    ],
)
def inbox_changes(inboxes: Inboxes, user_id: str, caller: Caller) -> InboxChanges:
    """Show what has changed in a user's inbox since a position."""
    owner, query = owner_of(user_id), query_of(request, Since)
    return inboxes.changes(owner, query.parsed)


@resource.endpoint(
    "GET",
    "/users/<user_id:user_id>/inbox/<nid:nid>",
    scope="operate",
    users=True,
    path_fields=_OF_NOTIFICATION,
    answers=[Answer(200, "The notification.", EXAMPLE), _ABSENT, BAD_PATH, _STORE_AWAY],
)
def show_notification(inboxes: Inboxes, user_id: str, nid: int, caller: Caller) -> InboxItem:
    """Show one notification."""
    return _found(inboxes.get(owner_of(user_id), nid), nid)


@resource.endpoint(
    "PATCH",
    "/users/<user_id:user_id>/inbox/<nid:nid>",
    scope="operate",
    users=True,
    path_fields=_OF_NOTIFICATION,
    body=Body(Marks, {"read": {"read": True}, "archive": {"archived": True}, "unread_again": {"read": False}}),
    answers=[
        Answer(
            200,
            "It is marked, or was like this before; every connected device is told of a change.",
            ChangedItem(item=READ_EXAMPLE, unread=2),
        ),
        _ABSENT,
        _BAD_BODY,
        _STORE_AWAY,
    ],
)
def mark_notification(inboxes: Inboxes, user_id: str, nid: int, caller: Caller) -> ChangedItem:
    """Mark one notification as read or archived, or take that back."""
    owner, marks = owner_of(user_id), body_of(request, Marks)
    return _found(inboxes.mark(owner, nid, read=marks.read, archived=marks.archived), nid)


@resource.endpoint(
    "DELETE",
    "/users/<user_id:user_id>/inbox/<nid:nid>",
    scope="operate",
    users=True,
    path_fields=_OF_NOTIFICATION,
    answers=[
        Answer(200, "It is deleted, with its texts; every connected device is told.", _CHANGED),
        _ABSENT,
        BAD_PATH,
        _STORE_AWAY,
    ],
)
def delete_notification(inboxes: Inboxes, user_id: str, nid: int, caller: Caller) -> InboxChanged:
    """Delete one notification."""
    return _found(inboxes.delete(owner_of(user_id), nid), nid)


def owner_of(user_id: str) -> Owner:
    """Returns the user that a path names. Raises Problem 422."""
    try:
        if len(user_id) > MOST_USER_ID_CHARS:
            raise ValueError(f"must have at most {MOST_USER_ID_CHARS} characters")
        if _REPLACEMENT in user_id and not _is_utf8(request.environ["PATH_INFO"]):
            raise ValueError("must be UTF-8, percent-encoded")
        return Owner(identifier(user_id))
    except ValueError as exc:
        raise Problem(422, _PATH_IS_BAD, [("user_id", str(exc))]) from None


def _is_utf8(path: str) -> bool:
    """Tells whether the bytes of a path are UTF-8. In WSGI each character of a path stands for one byte."""
    try:
        path.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _found(answer: T | None, nid: int) -> T:
    if answer is None:
        raise Problem(404, f"no notification {nid}", [("nid", "the user has no such notification")])
    return answer
