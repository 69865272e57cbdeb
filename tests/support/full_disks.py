"""Lets a database have no room for more, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy

from shared.store.store import Store

#: SQLite's own limit, pages
_ALL_PAGES = 4_294_967_294


@contextmanager
def full_disk(store: Store) -> Iterator[None]:
    """Lets no new row be written during the block; what is there can be read.

    SQLite may add no page to its file, so give rows a body of more than a page: a small one could find room in a page.
    """
    with _full_file(store) if store.database.is_sqlite else _full_server(store.database._url):
        yield


@contextmanager
def _full_file(store: Store) -> Iterator[None]:
    pages = 1

    def limit(connection: Any, *_: Any) -> None:
        # Below the present size it means the present size.
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    sqlalchemy.event.listen(store.database._engine, "checkout", limit)
    try:
        yield
    finally:
        # The listener stays: each connection has to be told that there is room again.
        pages = _ALL_PAGES


@contextmanager
def _full_server(url: str) -> Iterator[None]:
    with psycopg.connect(url, autocommit=True) as own:
        own.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        own.execute("CREATE TRIGGER full_disk BEFORE INSERT ON notifications EXECUTE FUNCTION no_room()")
        try:
            yield
        finally:
            own.execute("DROP TRIGGER full_disk ON notifications")
            own.execute("DROP FUNCTION no_room")
