"""Defines what goes into the store and what comes out of it, as values.

Every time is milliseconds since the epoch, UTC. An *offset* counts the changes of one user's inbox: each new row, and
each other change (of one row or of many), takes the next number. Ids and offsets stay below 2^53, because JavaScript
reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

#: Largest batch that one transaction should insert: rows, and bytes of their texts.
BATCH_ROWS, BATCH_BYTES = 256, 1024 * 1024
#: Most rows that one pull returns.
PULL_ROWS = 1000
#: Longest body and longest ``extra`` in a pull, bytes of UTF-8. Longer ones are cut, and their row is ``partial``.
PULL_TEXT_BYTES = 4096

#: The largest id: JavaScript reads no larger number exactly.
MAX_ID = 2**53 - 1

Status = Literal["unread", "read", "archived", "all"]


class Owner(NamedTuple):
    """Names the user to whom an inbox belongs. ``tenant`` is '' as long as there is only one."""

    user_id: str
    tenant: str = ""


class Position(NamedTuple):
    """Says up to which change an inbox has been read.

    Offset 0 means that nothing has been read; it is valid in every epoch. Any other offset has a meaning only in its
    own epoch, which is '' while the user has no inbox.
    """

    epoch: str
    offset: int


class NewNotification(NamedTuple):
    """Holds a notification that is to be stored. It is unique by tenant, user_id, client and request_id.

    ``client`` is the sender, '' if it is not known. ``extra`` is JSON text with everything that the store does not
    look at (link, data, metadata). ``created_ms`` is the time at which it was accepted.
    """

    user_id: str
    request_id: str
    client: str
    type: str
    priority: str
    category: str | None
    title: str
    body: str
    extra: str
    created_ms: int
    expires_ms: int | None = None
    tenant: str = ""

    @property
    def owner(self) -> Owner:
        return Owner(self.user_id, self.tenant)


class Notification(NamedTuple):
    """Holds a row as it is stored; the fields are the columns of the table, in their order.

    ``seq`` is the offset of its creation, ``changed_seq`` that of its last change. A deleted row stays for a while as a
    tombstone, with empty texts. ``partial``: body or ``extra`` are cut short, so fetch the notification by its id.
    """

    id: int
    tenant: str
    user_id: str
    client: str
    request_id: str
    seq: int
    changed_seq: int
    type: str
    priority: str
    category: str | None
    title: str
    body: str
    extra: str
    created_ms: int
    stored_ms: int
    read_ms: int | None
    archived_ms: int | None
    deleted_ms: int | None
    expires_ms: int | None
    partial: bool = False

    @property
    def owner(self) -> Owner:
        return Owner(self.user_id, self.tenant)

    @property
    def is_new(self) -> bool:
        """Tells whether nothing has happened to it since it was stored."""
        return self.changed_seq == self.seq

    @property
    def counts_as_unread(self) -> bool:
        """Tells whether it counts in ``unread``: it is neither read nor archived nor deleted."""
        return self.read_ms is None and self.archived_ms is None and self.deleted_ms is None


class Change(NamedTuple):
    """Says how one committed transaction changed one inbox: everything that a wake-up needs.

    The inbox went from offset ``prev`` to ``to`` in ``epoch``, and has ``unread`` unread rows now. ``rows`` are the
    rows that changed, as they are now, in the order of their offsets. ``read_upto`` is set instead if everything was
    marked as read at ``at_ms``: that changed every row with an id up to it that was neither read nor archived nor
    deleted.

    A *bare* change has no rows: the inbox has to be read anew. ``prev == to`` says that nothing changed now, but that
    nobody may have been told of the last change; an epoch that differs says that the old offsets mean nothing any more
    (it is '' with offset 0 for an inbox that was erased).
    """

    owner: Owner
    epoch: str
    prev: int
    to: int
    unread: int
    at_ms: int
    rows: tuple[Notification, ...] = ()
    read_upto: int | None = None

    @property
    def bare(self) -> bool:
        return not self.rows and self.read_upto is None


class Stored(NamedTuple):
    """Says that the notification is a new row."""

    id: int
    offset: int


class Repeated(NamedTuple):
    """Says that the notification had been stored before, under this id; it may have been deleted since."""

    id: int


class Rejected(NamedTuple):
    """Says that the database can never store this notification; ``detail`` names the error and shows no content."""

    detail: str


@dataclass(frozen=True, slots=True)
class Inserted:
    """Holds the committed result of a batch: one result per notification, in order, and one change per inbox.

    The change of an inbox in which only repeats were found is bare: the process that stored them may have died before
    it told anybody.
    """

    results: tuple[Stored | Repeated | Rejected, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Pull:
    """Holds what a device needs to be at ``position``; everything is from one snapshot of the database.

    ``recovered``: ``rows`` are all rows that have changed since the device's position, tombstones included, in the
    order of their changes; there may be none. Otherwise that position cannot be continued: the device forgets
    everything, and ``rows`` are its newest unread rows, oldest first; ``more``: there are older unread rows.

    ``went_back``: the position lies behind the end of the inbox in the same epoch, so the database is older than what
    the device has seen: call ``Store.rotate_epoch``.
    """

    owner: Owner
    position: Position
    unread: int
    recovered: bool
    rows: tuple[Notification, ...] = ()
    more: bool = False
    went_back: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """Holds the counters of one inbox. ``total`` counts all rows that are not deleted, archived ones too.

    ``delivered`` and ``seen`` are the highest offsets that reached a device, and that its user has seen in the list.
    """

    position: Position
    unread: int
    total: int
    delivered: int
    seen: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts everything in the database, for operators; counting takes a while in a large one."""

    inboxes: int
    notifications: int
    unread: int
    tombstones: int
    size_bytes: int


#: What a user has who was never written to.
EMPTY = Summary(Position("", 0), unread=0, total=0, delivered=0, seen=0)


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects the rows of a list; None means any. ``unread`` and ``read`` leave out archived rows, ``all`` has them."""

    status: Status = "all"
    type: str | None = None
    priority: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Holds a part of a list, newest first. ``next`` is the cursor of the next part, None after the last one."""

    items: tuple[Notification, ...]
    next: int | None
    unread: int
