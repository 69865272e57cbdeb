"""Reads and changes inboxes for the HTTP API, and publishes a wake-up after each change that was committed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import prometheus_client

from gateway.http.problem import RETRY_SOON_S, unavailable
from gateway.inbox.answers import (
    ChangedItem,
    InboxChanged,
    InboxChanges,
    InboxCount,
    InboxItem,
    InboxPage,
    item_of,
    items_of,
)
from shared.errors import SchemaMismatch, StoreUnavailable
from shared.realtime.wakeup import ThreadedWakeUps
from shared.store.store import Store
from shared.store.values import Change, Filter, Owner, Position

#: How many requests of one process may use the database at a time, and how many more may wait. A database that has
#: stopped holds each for seconds; the threads that accept notifications must not all wait for it.
CONNECTIONS = 8
MOST_AT_ONCE = 32
#: How many of them may be for the same user: a device that has gone wild must not keep out all other users.
MOST_PER_USER = 16


class Inboxes:
    """Holds the store and what wakes the devices. Every method raises StoreUnavailable, SchemaMismatch, and Problem 503
    if too many requests wait for the store.
    """

    def __init__(self, store: Store, wakeups: ThreadedWakeUps, unavailable_count: prometheus_client.Counter) -> None:
        """``unavailable_count`` counts the requests that the store did not answer."""
        self._store, self._wakeups, self._unavailable_count = store, wakeups, unavailable_count
        self._lock = threading.Lock()
        #: requests in progress: of each user who has some
        self._in_progress: Counter[Owner] = Counter()

    def page(self, owner: Owner, wanted: Filter, cursor: int | None, limit: int, skip: int) -> InboxPage:
        """Returns a part of the list."""
        with self._place(owner):
            page = self._store.page(owner, wanted, cursor=cursor, limit=limit, skip=skip)
        return InboxPage(items=[item_of(row) for row in page.items], next=page.next, unread=page.unread)

    def count(self, owner: Owner) -> InboxCount:
        """Returns the counters."""
        with self._place(owner):
            summary = self._store.summary(owner)
        return InboxCount(unread=summary.unread, total=summary.total)

    def changes(self, owner: Owner, since: Position | None) -> InboxChanges:
        """Returns what a device at this position needs. It does not wait for a change."""
        with self._place(owner):
            (pull,) = self._store.pull([(owner, since)])
            if pull.went_back and since is not None:
                # The database is older than what the device has seen: new rows would get numbers that it believes to
                # have, so the inbox starts an epoch of its own.
                self._tell(self._store.rotate_epoch(owner, since))
                (pull,) = self._store.pull([(owner, since)])
        return InboxChanges(
            epoch=pull.position.epoch,
            offset=pull.position.offset,
            recovered=pull.recovered,
            items=items_of(pull.rows),
            more=pull.more,
            unread=pull.unread,
        )

    def get(self, owner: Owner, id_: int) -> InboxItem | None:
        """Returns one notification whole, None if the user has no such notification."""
        with self._place(owner):
            row = self._store.get(owner, id_)
        return None if row is None else item_of(row)

    def mark(self, owner: Owner, id_: int, *, read: bool | None, archived: bool | None) -> ChangedItem | None:
        """Marks one notification. Returns None if the user has no such notification."""
        with self._place(owner):
            change = self._tell(self._store.mark(owner, [id_], read=read, archived=archived))
            if change is not None:
                return ChangedItem(item=item_of(change.rows[0]), unread=change.unread)
            row = self._store.get(owner, id_)
            return None if row is None else ChangedItem(item=item_of(row), unread=self._store.summary(owner).unread)

    def delete(self, owner: Owner, id_: int) -> InboxChanged | None:
        """Deletes one notification. Returns None if the user has no such notification."""
        with self._place(owner):
            change = self._tell(self._store.delete(owner, [id_]))
        return None if change is None else _changed(change)

    def mark_many(self, owner: Owner, ids: Sequence[int], *, read: bool | None, archived: bool | None) -> InboxChanged:
        """Marks those of the notifications that the user has."""
        with self._place(owner):
            change = self._tell(self._store.mark(owner, ids, read=read, archived=archived))
            return self._unchanged(owner) if change is None else _changed(change)

    def read_all(self, owner: Owner, upto: int) -> InboxChanged:
        """Marks as read everything with an id up to ``upto`` that is not archived."""
        with self._place(owner):
            change = self._tell(self._store.read_all(owner, upto))
            return self._unchanged(owner) if change is None else _changed(change)

    @contextmanager
    def _place(self, owner: Owner) -> Iterator[None]:
        with self._lock:
            if self._in_progress[owner] >= MOST_PER_USER or self._in_progress.total() >= MOST_AT_ONCE:
                raise unavailable("too many requests wait for the store of the inboxes", RETRY_SOON_S)
            self._in_progress[owner] += 1
        try:
            # A database that did not answer when the process started was not checked then.
            self._store.check_schema()
            yield
        except (StoreUnavailable, SchemaMismatch):
            self._unavailable_count.inc()
            raise
        finally:
            with self._lock:
                self._in_progress[owner] -= 1
                if not self._in_progress[owner]:
                    del self._in_progress[owner]

    def _tell(self, change: Change | None) -> Change | None:
        """Publishes the wake-up of a committed change, and returns the change."""
        if change is not None:
            self._wakeups.publish([change])
        return change

    def _unchanged(self, owner: Owner) -> InboxChanged:
        summary = self._store.summary(owner)
        return InboxChanged(changed=False, offset=summary.position.offset, unread=summary.unread)


def _changed(change: Change) -> InboxChanged:
    return InboxChanged(changed=True, offset=change.to, unread=change.unread)
