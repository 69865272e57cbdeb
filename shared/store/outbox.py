"""Reads an upstream's outbox, the table ``notification_outbox`` of ``ops/sql/outbox.sql``, and marks what is done.

It is no part of the store: the table lies in somebody else's PostgreSQL. A row is taken with a lock that lasts until it
is marked, so several relays share one outbox, and the rows of one that dies are free again at once.

Rows are found by what is not marked yet, never by "after the last id": ids are given before the commit, so a row of a
transaction that commits late has a smaller id than rows that were seen long before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from shared.errors import BadSettings, StoreUnavailable
from shared.store.database import CONNECT_S, LIMITS, database_errors
from shared.store.watchdog import Watchdog

#: A relay that is frozen keeps its rows locked for this long at most, seconds.
LOCKED_S = 30
#: most rows that one transaction removes
SWEPT_AT_ONCE = 5_000
_CHANNEL = "notification_outbox"
_BEGIN = f"BEGIN; {LIMITS}; SET LOCAL idle_in_transaction_session_timeout = '{LOCKED_S}s'"
_CLAIM = """
    SELECT id, request_id, user_id, title, message, type, priority, channel,
           CASE WHEN octet_length(envelope::text) <= %(most)s THEN envelope::text END,
           octet_length(envelope::text),
           (extract(epoch FROM created_at) * 1000)::bigint
    FROM notification_outbox
    WHERE published_at IS NULL AND failed_at IS NULL AND id > %(after)s
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED"""
_PUBLISHED = "UPDATE notification_outbox SET published_at = clock_timestamp() WHERE id = ANY(%s)"
_FAILED = """
    UPDATE notification_outbox AS o SET failed_at = clock_timestamp(), error = bad.error
    FROM unnest(%s::bigint[], %s::text[]) AS bad (id, error) WHERE o.id = bad.id"""
_SWEEP = """
    DELETE FROM notification_outbox WHERE id IN (
        SELECT id FROM notification_outbox WHERE published_at < now() - make_interval(secs => %s)
        ORDER BY published_at LIMIT %s FOR UPDATE SKIP LOCKED)"""
_OLDEST = """
    SELECT extract(epoch FROM clock_timestamp() - created_at) FROM notification_outbox
    WHERE published_at IS NULL AND failed_at IS NULL ORDER BY id LIMIT 1"""


class OutboxRow(NamedTuple):
    """Holds one row. ``envelope`` is JSON text, None if the columns hold the notification, or if it is too large."""

    id: int
    request_id: str
    user_id: str | None
    title: str | None
    message: str | None
    type: str
    priority: str
    channel: str
    envelope: str | None
    #: bytes of the envelope, None if there is none
    envelope_bytes: int | None
    #: milliseconds since the epoch, by the clock of the database
    created_ms: int


class Outbox:
    """Works on one outbox; it connects when first used, and again after an error. Call it from one thread at a time.

    Every method raises StoreUnavailable if the database does not answer, is busy or refuses; whatever was taken is free
    again then, and may be published a second time under the same request_id.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._watchdog = Watchdog()
        self._work: psycopg.Connection[Any] | None = None

    def check(self) -> None:
        """Call it at the start. Raises BadSettings (exit 2) if the tables are not there."""
        with database_errors():
            found = self._connected().execute("SELECT to_regclass('notification_outbox'), to_regclass('relay_state')")
            if None in (found.fetchone() or ()):
                raise BadSettings([("OUTBOX_URL", "the database has no outbox: install ops/sql/outbox.sql in it")])

    def claim(self, after: int, limit: int, most_bytes: int) -> list[OutboxRow]:
        """Locks the next rows that are not marked, with ids above ``after``, until ``settle``.

        Rows that another relay has locked are left out. ``most_bytes`` limits the envelope of a row.
        """
        values = {"after": after, "limit": limit, "most": most_bytes}
        connection = self._connected()
        with database_errors(), self._watchdog.over(connection.fileno()):
            connection.execute(_BEGIN)
            rows = [OutboxRow(*row) for row in connection.execute(_CLAIM, values)]
            if not rows:
                connection.execute("ROLLBACK")
        return rows

    def settle(self, published: Sequence[int], failed: Mapping[int, str]) -> None:
        """Marks rows that were claimed, and unlocks all of them. Those that are in neither argument are left."""
        connection = self._connected()
        with database_errors(), self._watchdog.over(connection.fileno()):
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                raise StoreUnavailable("the connection was lost while the rows were being published")
            if published:
                connection.execute(_PUBLISHED, (list(published),))
            if failed:
                texts = [error.replace("\0", "\N{REPLACEMENT CHARACTER}") for error in failed.values()]
                connection.execute(_FAILED, (list(failed), texts))
            connection.execute("COMMIT")

    def set_asleep(self, asleep: bool) -> None:
        """Says whether inserting transactions shall wake this relay."""
        self._do("UPDATE relay_state SET asleep = %s WHERE asleep IS DISTINCT FROM %s", (asleep, asleep))

    def sweep(self, older_s: float) -> int:
        """Removes some rows that were published that long ago. Returns how many; call it again until it is 0."""
        return self._do(_SWEEP, (older_s, SWEPT_AT_ONCE)).rowcount

    def oldest_s(self) -> float:
        """Returns for how long the oldest row has been waiting, seconds; 0 if none waits."""
        row = self._do(_OLDEST).fetchone()
        return 0.0 if row is None else max(0.0, float(row[0]))

    def close(self) -> None:
        """Closes the connection; what is locked is unlocked by that."""
        if self._work is not None:
            self._work.close()
            self._work = None

    def _do(self, statement: str, values: Sequence[object] = ()) -> psycopg.Cursor[Any]:
        connection = self._connected()
        with database_errors(), self._watchdog.over(connection.fileno()):
            return connection.execute(statement, values)

    def _connected(self) -> psycopg.Connection[Any]:
        connection = self._work
        if connection is not None and (
            connection.broken or connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        ):
            self.close()
        if self._work is None:
            self._work = connect(self._url)
        return self._work


class Bell:
    """Waits for inserting transactions to ring. It has a connection of its own, and may be used by another thread.

    It needs a session: a pooler that gives each transaction another one hears nothing. It is only a hint.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def wait(self, timeout_s: float) -> bool:
        """Returns True as soon as it rings, False after ``timeout_s``. Raises StoreUnavailable."""
        with database_errors():
            if self._connection is None or self._connection.broken:
                self._connection = connect(self._url)
                self._connection.execute(f"LISTEN {_CHANNEL}")
                # What was committed before is not heard any more.
                return True
            heard = list(self._connection.notifies(timeout=timeout_s, stop_after=1))
            return bool(heard)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(url: str) -> psycopg.Connection[Any]:
    """Opens a connection that begins no transaction by itself. Raises StoreUnavailable."""
    defaults = {"connect_timeout": CONNECT_S, "application_name": "notify-relay", "keepalives_idle": 5}
    given = psycopg.conninfo.conninfo_to_dict(url)
    missing: dict[str, Any] = {name: value for name, value in defaults.items() if name not in given}
    with database_errors():
        return psycopg.connect(url, autocommit=True, **missing)
