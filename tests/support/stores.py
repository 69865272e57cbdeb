"""Makes databases for tests, fills them, and checks what must be true of every inbox whatever has happened."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from ops.servers import PostgreSQLServer
from shared.store import schema
from shared.store.database import Database
from shared.store.store import Store
from shared.store.values import NewNotification

_TEMPLATE = "migrated"


class Databases:
    """Makes empty databases with tables: each is a copy of one that was migrated once."""

    def __init__(self, directory: Path, postgresql: Callable[[], PostgreSQLServer]) -> None:
        self._directory = directory
        self._start = postgresql
        self._server: PostgreSQLServer | None = None
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._directory)

    @contextmanager
    def empty(self, backend: str) -> Iterator[str]:
        """Yields the URL of an empty database, and removes it afterwards."""
        with self._sqlite() if backend == "sqlite" else self._postgresql() as url:
            yield url

    @contextmanager
    def _sqlite(self) -> Iterator[str]:
        template = self._directory / _TEMPLATE
        if not template.exists():
            _migrate(f"sqlite:///{template}")
        path = self._directory / f"{next(self._numbers)}" / "notify.db"
        path.parent.mkdir()
        shutil.copy(template, path)
        yield f"sqlite:///{path}"
        shutil.rmtree(path.parent)

    @contextmanager
    def _postgresql(self) -> Iterator[str]:
        if self._server is None:
            self._server = self._start()
            # By the rules of this language texts have another order than by their bytes; nothing may depend on that.
            self._execute(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
            _migrate(self._server.database_url(_TEMPLATE))
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        yield self._server.database_url(name)
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        assert self._server is not None
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(statement.encode())


def _migrate(url: str) -> None:
    database = Database(url)
    schema.upgrade(database)
    database.close()


def new(user_id: str, request_id: str, **fields: Any) -> NewNotification:
    """Returns a notification to store; ``fields`` replace those that a test does not care for."""
    usual: dict[str, Any] = {
        "client": "shop",
        "type": "info",
        "priority": "medium",
        "category": None,
        "title": f"title of {request_id}",
        "body": f"body of {request_id}",
        "extra": "{}",
        "created_ms": 1_000,
    }
    return NewNotification(user_id=user_id, request_id=request_id, **{**usual, **fields})


_BROKEN = """
    SELECT i.user_id, i.seq, i.unread, i.total, i.floor FROM inbox AS i LEFT JOIN (
        SELECT tenant, user_id,
            COUNT(*) AS present, MAX(changed_seq) AS newest, COUNT(DISTINCT seq) AS offsets, MIN(seq) AS oldest,
            SUM(CASE WHEN deleted_ms IS NULL THEN 1 ELSE 0 END) AS live,
            SUM(CASE WHEN read_ms IS NULL AND archived_ms IS NULL AND deleted_ms IS NULL THEN 1 ELSE 0 END) AS unread
        FROM notifications GROUP BY tenant, user_id
    ) AS n ON n.tenant = i.tenant AND n.user_id = i.user_id
    WHERE i.unread <> COALESCE(n.unread, 0) OR i.total <> COALESCE(n.live, 0) OR COALESCE(n.newest, 0) > i.seq
       OR i.floor > i.seq OR COALESCE(n.present, 0) <> COALESCE(n.offsets, 0) OR COALESCE(n.oldest, 1) < 1"""
_ORPHANS = """
    SELECT COUNT(*) FROM notifications AS n
    WHERE NOT EXISTS (SELECT 1 FROM inbox AS i WHERE i.tenant = n.tenant AND i.user_id = n.user_id)"""


def check_inboxes(store: Store) -> None:
    """Asserts that the counters of each inbox are those of its rows, and that no offset was given twice."""
    with store.database.reading(limited=False) as connection:
        assert connection.exec_driver_sql(_BROKEN).all() == []
        assert connection.exec_driver_sql(_ORPHANS).scalar() == 0


def rows_of(store: Store, columns: str = "*", table: str = "notifications") -> list[tuple[Any, ...]]:
    """Returns what is in a table, in the order of the first column."""
    with store.database.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT {columns} FROM {table} ORDER BY 1, 2")]
