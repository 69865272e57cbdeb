"""Offers every operation on the timeline. It is the only class of this package that others use, with ``rows``.

Call it from threads: every method waits for the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from shared.events.event import Event
from shared.store.database import Database
from shared.store.tables import deliveries, events
from shared.store.timeline import reading, writing
from shared.store.timeline.rows import Counts, Cursor, Delivery, Overdue, Part, Told, Wanted

#: Most deliveries that one transaction removes, with their events: others wait for its locks meanwhile.
CHUNK_ROWS = 500
_KEY = ("tenant", "request_id", "client", "channel")


class Timeline:
    """Reads and writes the timeline, in one transaction for each call. Every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, batch: Sequence[Event]) -> list[tuple[Event, str]]:
        """Writes those events that are new. Returns those that the database refuses, each with the reason.

        If it raises StoreUnavailable, a part may be written: write the same batch again.
        """
        return writing.write(self._database, batch)

    def of_request(self, request_id: str, client: str | None = None) -> tuple[list[Delivery], list[Told]]:
        """Returns where a notification stands on its channels, and its events, the oldest first.

        Without a ``client`` they are those of all clients that have used the id.
        """
        with self._database.reading() as connection:
            return reading.of_request(connection, request_id, client)

    def page(self, wanted: Wanted, cursor: Cursor | None, limit: int) -> Part:
        """Returns a part of the list of deliveries, newest first; ``cursor`` is ``Part.next`` of the part before."""
        with self._database.reading() as connection:
            return reading.page(connection, wanted, cursor, limit)

    def counts(self, wanted: Wanted) -> Counts:
        """Counts the selected deliveries, and how long they took until the provider accepted them."""
        with self._database.reading() as connection:
            return reading.counts(connection, wanted)

    def overdue(self, before_ms: int, since_ms: int, limit: int) -> list[Overdue]:
        """Returns deliveries without an end that have been silent since ``before_ms`` and wait on no ladder."""
        with self._database.reading() as connection:
            return reading.overdue(connection, before_ms, since_ms, limit)

    def note_republished(self, published: Iterable[Overdue], at_ms: int) -> None:
        """Notes that these were published again."""
        key = sa.tuple_(*(deliveries.c[name] for name in _KEY))
        keys = [("", one.request_id, one.client, one.channel) for one in published]
        changed = {"republished": deliveries.c.republished + 1, "republished_ms": at_ms}
        with self._database.writing() as connection:
            connection.execute(sa.update(deliveries).where(key.in_(keys)).values(changed))

    def retain(self, before_ms: int) -> int:
        """Removes everything about notifications that were accepted before a time. Returns how many deliveries."""
        removed = 0
        while chunk := self._remove_chunk(before_ms):
            removed += chunk
        return removed

    def _remove_chunk(self, before_ms: int) -> int:
        keys = [deliveries.c[name] for name in _KEY]
        old = (
            sa.select(*keys)
            .where(deliveries.c.tenant == "", deliveries.c.created_ms < before_ms)
            .order_by(deliveries.c.created_ms)
            .limit(CHUNK_ROWS)
        )
        with self._database.writing() as connection:
            found = [tuple(row) for row in connection.execute(old)]
            if found:
                for table in (events, deliveries):
                    of_these = sa.tuple_(*(table.c[name] for name in _KEY)).in_(found)
                    connection.execute(sa.delete(table).where(of_these))
        return len(found)
