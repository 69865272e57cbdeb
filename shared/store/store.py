"""Offers every operation on the inboxes. It is the only class that other packages use, with the types in ``values``.

Call it from threads: every method waits for the database. ``threads`` calls it from an asyncio loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from shared import clock
from shared.store import schema
from shared.store.database import Database
from shared.store.inboxes import changes, insert, reading, upkeep
from shared.store.values import (
    MAX_ID,
    PULL_ROWS,
    Change,
    Filter,
    Inserted,
    NewNotification,
    Notification,
    Owner,
    Page,
    Position,
    Pull,
    Summary,
    Totals,
)

#: How long a tombstone is kept, milliseconds: longer than a device's position or a record of a delivery is of use
#: (DONE_TTL_S, 3 days). Until then a repeat must find it, or it would bring back what its user has deleted.
TOMBSTONE_MS = 7 * 86_400_000
#: Most inboxes of which one transaction records what was delivered or seen: others wait for its locks meanwhile.
MARKED_AT_ONCE = 256


class Store:
    """Reads and changes inboxes, in one transaction for each call.

    Every method raises StoreUnavailable if the database does not answer, is busy for too long, full or read-only, and
    all but ``insert`` raise DataRejected for a user id that no database can hold. Ids may be any numbers.
    What a method returns is committed. Publish each ``Change`` as a wake-up after that; a change that is lost is
    found by comparing positions.

    ``url`` is ``Settings.database.url``; ``connections`` is the number of threads that use the store at a time.
    """

    def __init__(self, url: str, connections: int = 3, now_ms: Callable[[], int] = clock.now_ms) -> None:
        self.database = Database(url, connections)
        self._now_ms = now_ms
        self._fits = False

    def check_schema(self) -> None:
        """Raises SchemaMismatch (BadSettings: exit 2) if the tables do not fit. It does nothing once they do.

        Call it when a process starts, and again later if the database was unavailable then.
        """
        if not self._fits:
            schema.check(self.database)
            self._fits = True

    def close(self) -> None:
        """Closes the connections."""
        self.database.close()

    # -- New notifications -------------------------------------------------------------------------------------------

    def insert(self, batch: Sequence[NewNotification]) -> Inserted:
        """Stores a batch (at most ``BATCH_ROWS`` and ``BATCH_BYTES``); what is stored already is left as it is.

        One notification that the database refuses does not keep out the others. If it raises StoreUnavailable, a part
        may be stored: insert the same batch again.
        """
        return insert.insert(self.database, batch, self._now_ms())

    # -- What users do; None means that nothing changed --------------------------------------------------------------

    def mark(
        self, owner: Owner, ids: Sequence[int], *, read: bool | None = None, archived: bool | None = None
    ) -> Change | None:
        """Marks notifications as read or unread, and as archived or not. Ids of others and deleted ones are ignored."""
        with self.database.writing() as connection:
            return changes.mark(connection, owner, _possible(ids), self._now_ms(), read=read, archived=archived)

    def delete(self, owner: Owner, ids: Sequence[int]) -> Change | None:
        """Deletes notifications: their texts are gone at once, and a tombstone tells the devices."""
        with self.database.writing() as connection:
            return changes.delete(connection, owner, _possible(ids), self._now_ms())

    def read_all(self, owner: Owner, upto: int) -> Change | None:
        """Marks as read everything with an id up to ``upto`` that is neither read nor archived."""
        with self.database.writing() as connection:
            return changes.read_all(connection, owner, min(max(upto, 0), MAX_ID), self._now_ms())

    def raise_delivered(self, offsets: Mapping[Owner, int]) -> None:
        """Records that devices have everything up to these offsets. It takes no offset and makes no change."""
        self._raise_marks("delivered_seq", offsets)

    def raise_seen(self, offsets: Mapping[Owner, int]) -> None:
        """Records that users have seen their list up to these offsets. It takes no offset and makes no change."""
        self._raise_marks("seen_seq", offsets)

    def _raise_marks(self, column: str, offsets: Mapping[Owner, int]) -> None:
        marks = list(offsets.items())
        for first in range(0, len(marks), MARKED_AT_ONCE):
            with self.database.writing() as connection:
                changes.raise_marks(connection, column, dict(marks[first : first + MARKED_AT_ONCE]))

    # -- Reading -----------------------------------------------------------------------------------------------------

    def pull(self, wanted: Sequence[tuple[Owner, Position | None]], limit: int = PULL_ROWS) -> list[Pull]:
        """Returns what each device needs to be up to date; None is the position of one that has nothing yet.

        All are answered from one snapshot. Whose position is the end of its inbox gets no rows.
        """
        with self.database.reading() as connection:
            return reading.pull(connection, wanted, limit)

    def positions(self, owners: Iterable[Owner]) -> dict[Owner, Position]:
        """Returns the ends of many inboxes in one query. Who has no inbox is absent."""
        with self.database.reading() as connection:
            return reading.positions(connection, owners)

    def page(
        self, owner: Owner, wanted: Filter | None = None, *, cursor: int | None = None, limit: int = 20, skip: int = 0
    ) -> Page:
        """Returns a part of the list, newest first. ``cursor`` is ``Page.next`` of the part before it."""
        cursor = None if cursor is None else min(max(cursor, 0), MAX_ID)
        with self.database.reading() as connection:
            return reading.page(connection, owner, wanted or Filter(), cursor, limit, skip)

    def summary(self, owner: Owner) -> Summary:
        """Returns the position and the counters of an inbox; they are 0 for a user who has none."""
        with self.database.reading() as connection:
            return reading.summary(connection, owner)

    def get(self, owner: Owner, id_: int) -> Notification | None:
        """Returns one notification whole; None if the user has none with this id, or has deleted it."""
        if not _possible([id_]):
            return None
        with self.database.reading() as connection:
            return reading.get(connection, owner, id_)

    def totals(self) -> Totals:
        """Counts everything, without a limit of time."""
        with self.database.reading(limited=False) as connection:
            return reading.totals(connection)

    # -- Upkeep ------------------------------------------------------------------------------------------------------

    def expire(self) -> Iterator[list[Change]]:
        """Turns the notifications whose time is over into tombstones; yields the changes of each transaction."""
        while True:
            with self.database.reading() as snapshot:
                due = upkeep.due_by_expiry(snapshot, self._now_ms())
            if not due:
                return
            yield self._bury(due)

    def retain(self, days: float) -> Iterator[list[Change]]:
        """Turns what is older than ``days`` into tombstones; yields the changes of each transaction.

        It also walks through the tombstones that are not purged yet, so call it once an hour rather than once a minute.
        """
        before_ms = self._now_ms() - round(days * 86_400_000)
        after_id: int | None = 0
        while after_id is not None:
            with self.database.reading() as snapshot:
                due, after_id = upkeep.due_by_age(snapshot, before_ms, after_id)
            if due:
                yield self._bury(due)

    def purge(self, older_than_ms: int = TOMBSTONE_MS) -> int:
        """Removes tombstones of that age. Returns how many. A device that is behind one of them starts anew."""
        before_ms = self._now_ms() - older_than_ms
        purged = 0
        while True:
            with self.database.writing() as connection:
                removed = upkeep.purge(connection, before_ms)
            purged += removed
            if not removed:
                return purged

    def erase(self, owner: Owner) -> Change | None:
        """Removes everything of one user. The change has the epoch '', so devices start anew with an empty list."""
        with self.database.writing() as connection:
            return upkeep.erase(connection, owner, self._now_ms())

    def rotate_epoch(self, owner: Owner, seen: Position) -> Change | None:
        """Gives an inbox a fresh epoch, because a device has ``seen`` an offset that is not there (any more).

        Call it for a ``Pull`` that ``went_back``. Offsets would be given twice otherwise, and devices would believe
        that they have the new rows.
        """
        with self.database.writing() as connection:
            return upkeep.rotate_epoch(connection, owner, seen, self._now_ms())

    def restored(self) -> int:
        """Gives every inbox a fresh epoch, after the database was put back from a backup. Returns how many."""
        with self.database.maintaining() as connection:
            return upkeep.restored(connection)

    def _bury(self, due: list[tuple[int, Owner]]) -> list[Change]:
        with self.database.writing() as connection:
            return upkeep.bury(connection, due, self._now_ms())


def _possible(ids: Sequence[int]) -> list[int]:
    """Returns those ids that a row can have; the database does not read larger numbers."""
    return [id_ for id_ in ids if 0 < id_ <= MAX_ID]
