"""Inserts batches: one transaction for each, unless a notification in it cannot be stored."""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import DataRejected
from shared.store.database import Database
from shared.store.inboxes import insert_postgresql, insert_sqlite
from shared.store.inboxes.batch import Batch
from shared.store.values import Inserted, NewNotification, Rejected


def insert(database: Database, notifications: Sequence[NewNotification], now_ms: int) -> Inserted:
    """Stores those that are new. Raises StoreUnavailable; a part may be stored then, so insert the same again.

    If the database refuses the data of one of them, it refuses the whole transaction: then each half of the batch gets
    a transaction of its own, and so on until that one is alone.
    """
    if not notifications:
        return Inserted((), ())
    try:
        return _in_one_transaction(database, Batch.of(notifications, now_ms))
    except DataRejected as exc:
        if len(notifications) == 1:
            return Inserted((Rejected(str(exc)),), ())
    half = len(notifications) // 2
    first = insert(database, notifications[:half], now_ms)
    second = insert(database, notifications[half:], now_ms)
    return Inserted(first.results + second.results, first.changes + second.changes)


def _in_one_transaction(database: Database, batch: Batch) -> Inserted:
    if database.is_sqlite:
        with database.writing() as connection:
            return insert_sqlite.insert(connection, batch)
    with database.writing() as connection:
        inserted = insert_postgresql.insert_unseen(connection, batch)
        if inserted is not None:
            return inserted
        connection.rollback()
    with database.writing() as connection:
        return insert_postgresql.insert(connection, batch)
