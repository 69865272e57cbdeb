"""Defines what the HTTP API answers about inboxes. ``shared.realtime.frames`` decides how a notification looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.http.answers import AnswerModel
from shared.realtime.frames import item
from shared.store.values import Notification


class InboxItem(AnswerModel):
    """Is one notification, as in the frames that devices get."""

    id: int
    request_id: str
    offset: Annotated[
        int, Field(description="the change that made it what it is; of two forms, the one with the higher is newer")
    ]
    type: str
    priority: str
    category: str | None
    title: str
    body: str
    link: str | None
    data: dict[str, Any] | None
    metadata: dict[str, Any] | None
    created_at: Annotated[str, Field(description="when the notification was accepted")]
    read_at: str | None
    archived_at: str | None
    expires_at: str | None
    partial: Annotated[
        bool,
        Field(
            description="only if true: the body or the data are cut short, so fetch the notification by its id",
            exclude_if=lambda partial: not partial,
        ),
    ] = False


class DeletedItem(AnswerModel):
    """Says that a notification was deleted."""

    id: int
    offset: int
    deleted: Literal[True]


class InboxPage(AnswerModel):
    """Holds a part of the list, newest first."""

    items: list[InboxItem]
    next: Annotated[int | None, Field(description="the `cursor` of the next part; null after the last one")]
    unread: Annotated[int, Field(description="how many notifications of the whole inbox are unread")]


class InboxCount(AnswerModel):
    """Counts an inbox. A user who never got a notification has none."""

    unread: Annotated[int, Field(description="neither read nor archived")]
    total: Annotated[int, Field(description="all that are not deleted, archived ones too")]


class InboxChanges(AnswerModel):
    """Holds all that a device needs that was at a position: afterwards it is at `epoch` and `offset`."""

    epoch: str
    offset: int
    recovered: Annotated[
        bool,
        Field(
            description="true: the items are all that have changed since the position. false: there was none, or it "
            "cannot be continued: forget everything; the items are the newest unread ones, oldest first"
        ),
    ]
    items: list[InboxItem | DeletedItem]
    more: Annotated[bool, Field(description="there are older unread notifications than these; read the list")]
    unread: int


class InboxChanged(AnswerModel):
    """Says how the inbox is after a change."""

    changed: Annotated[bool, Field(description="false if everything was like this before")]
    offset: Annotated[int, Field(description="the number of the last change of this inbox")]
    unread: int


class ChangedItem(AnswerModel):
    """Holds a notification after a change."""

    item: InboxItem
    unread: int


def item_of(row: Notification) -> InboxItem:
    """Returns a row that is not deleted."""
    return InboxItem.model_validate(item(row))


def items_of(rows: Iterable[Notification]) -> list[InboxItem | DeletedItem]:
    """Returns rows of which some may be deleted."""
    return [item_of(row) if row.deleted_ms is None else DeletedItem.model_validate(item(row)) for row in rows]


EXAMPLE = InboxItem(
    id=1027,
    request_id="order-1027-shipped",
    offset=41,
    type="success",
    priority="high",
    category=None,
    title="Your order is on its way",
    body="Order 1027 has left our warehouse.",
    link="https://example.com/orders/1027",
    data={"order": 1027},
    metadata=None,
    created_at="2030-01-01T12:00:00.123Z",
    read_at=None,
    archived_at=None,
    expires_at=None,
)
READ_EXAMPLE = EXAMPLE.model_copy(update={"offset": 42, "read_at": "2030-01-01T12:05:00.000Z"})
