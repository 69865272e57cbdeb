"""Opens the database and runs transactions in it; the one place that knows drivers, connections and their errors.

Every process that has the database open calls this from threads. There is no asynchronous engine: a transaction is one
hop to a thread, while an asynchronous driver for SQLite hops once per statement.
"""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shared.errors import DataRejected, SchemaMismatch, StoreUnavailable
from shared.store.watchdog import Watchdog
from shared.store.write_lock import WriteLock

#: longest wait for a lock, for one statement, and for a connection, seconds
LOCK_S, STATEMENT_S, CONNECT_S = 3, 5, 3
#: how long SQLite waits for a writer that does not use the lock file (a backup, for example), seconds
BUSY_S = 5
_SQLITE_PREFIX = "sqlite:///"
LIMITS = f"SET LOCAL lock_timeout = '{LOCK_S}s'; SET LOCAL statement_timeout = '{STATEMENT_S}s'"
#: Classes of SQLSTATE that say that the data is at fault: invalid values, violated constraints, too large for an index.
_DATA_CLASSES = ("22", "23", "54")
_SQLITE_DATA_ERRORS = ("SQLITE_TOOBIG", "SQLITE_CONSTRAINT", "SQLITE_MISMATCH")


class Database:
    """Runs transactions. ``url`` is ``sqlite:///file`` or ``postgresql://...``, as libpq reads it.

    ``connections`` is the number of threads that may use it at the same time; more wait. It connects when first used.
    """

    def __init__(self, url: str, connections: int = 3) -> None:
        self.is_sqlite = url.startswith("sqlite:")
        self.path = Path(url.removeprefix(_SQLITE_PREFIX)) if self.is_sqlite else None
        self._url = url
        self._lock = WriteLock(self.path) if self.path is not None else None
        self._watchdog = Watchdog()
        self._engine = sqlalchemy.create_engine(
            "sqlite://" if self.is_sqlite else "postgresql+psycopg://",
            creator=self._connect,
            poolclass=sqlalchemy.QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=CONNECT_S,
        )

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Runs the block in one transaction that is committed at its end, and rolled back if the block raises.

        Raises StoreUnavailable; then it may have been committed all the same, if the answer to the commit was lost.
        Raises DataRejected.
        """
        begin = "BEGIN IMMEDIATE" if self.is_sqlite else f"BEGIN; {LIMITS}"
        with self._turn(), self._transaction(begin) as connection:
            yield connection

    @contextmanager
    def reading(self, *, limited: bool = True) -> Iterator[Connection]:
        """Runs the block on one snapshot: all its statements see the same state. Raises StoreUnavailable.

        Without ``limited`` each statement may take as long as it needs.
        """
        snapshot = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{'; ' + LIMITS if limited else ''}"
        with self._transaction("BEGIN" if self.is_sqlite else snapshot, limited=limited) as connection:
            yield connection

    @contextmanager
    def maintaining(self) -> Iterator[Connection]:
        """Runs the block like ``writing``, but it may take as long as it needs."""
        begin = "BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN"
        with self._turn(), self._transaction(begin, limited=False) as connection:
            yield connection

    def close(self) -> None:
        """Closes the connections that no thread uses now."""
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    def _turn(self) -> AbstractContextManager[None]:
        return nullcontext() if self._lock is None else self._lock.held()

    @contextmanager
    def _transaction(self, begin: str, *, limited: bool = True) -> Iterator[Connection]:
        # The drivers begin nothing by themselves (sqlite3 would not include CREATE TABLE); a connection that is closed
        # with an open transaction is rolled back.
        with _database_errors(), self._engine.connect() as first, ExitStack() as stack:
            connection = first
            try:
                self._begin(connection, begin, stack, limited=limited)
            except DBAPIError as exc:
                if not exc.connection_invalidated:
                    raise
                # The server has closed the connection while nobody used it, and all that are older have been dropped.
                stack.close()
                connection = stack.enter_context(self._engine.connect())
                self._begin(connection, begin, stack, limited=limited)
            yield connection
            connection.commit()

    def _begin(self, connection: Connection, begin: str, stack: ExitStack, *, limited: bool) -> None:
        if limited and not self.is_sqlite:
            driver: Any = connection.connection.driver_connection
            stack.enter_context(self._watchdog.over(driver.fileno()))
        connection.exec_driver_sql(begin)

    def _connect(self) -> Any:
        return self._connect_sqlite(self.path) if self.path is not None else self._connect_postgresql()

    def _connect_sqlite(self, path: Path) -> sqlite3.Connection:
        _make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        # WAL: readers and the writer do not wait for each other. FULL: what is committed survives a loss of power;
        # without it nothing is faster in batches.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 67108864"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    def _connect_postgresql(self) -> psycopg.Connection[Any]:
        # A standby would give positions that lie in the past. The keepalives end a connection to a dead machine.
        defaults: dict[str, Any] = {
            "connect_timeout": CONNECT_S,
            "target_session_attrs": "read-write",
            "application_name": "notify",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        }
        chosen = psycopg.conninfo.conninfo_to_dict(self._url)
        missing = {name: value for name, value in defaults.items() if name not in chosen}
        connection = psycopg.connect(self._url, autocommit=True, client_encoding="UTF8", **missing)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            # Others lack characters, or count bytes where characters are meant.
            connection.close()
            raise SchemaMismatch(f"the database has the encoding {encoding}: make it with ENCODING UTF8")
        return connection


@contextmanager
def _database_errors() -> Iterator[None]:
    """Turns each error of the database into StoreUnavailable or DataRejected.

    Their cause is left out: a traceback would show its text, in which the parameters of the statement stand, and on
    PostgreSQL values of rows.
    """
    try:
        yield
    except DBAPIError as exc:
        raise _meaning_of(exc.orig) from None
    except sqlalchemy.exc.TimeoutError as exc:
        raise StoreUnavailable("the database is busy: all connections of this process are in use") from exc
    except SQLAlchemyError as exc:
        raise StoreUnavailable(f"{type(exc).__name__}: {_first_line(exc)}") from None
    except (sqlite3.Error, psycopg.Error) as exc:
        raise _meaning_of(exc) from None
    except (UnicodeEncodeError, OverflowError) as exc:
        # A lone surrogate has no UTF-8; a number is too large for the database.
        raise DataRejected(type(exc).__name__) from exc


def _meaning_of(error: BaseException | None) -> StoreUnavailable | DataRejected:
    """Returns what the error of a driver means. An unknown one is temporary: nothing is given up for it."""
    name = type(error).__name__
    if isinstance(error, psycopg.Error):
        if error.sqlstate is None and isinstance(error, psycopg.DataError):
            # psycopg itself refuses U+0000.
            return DataRejected(name)
        if error.sqlstate is None:
            return StoreUnavailable(f"{name}: {_first_line(error)}")
        if error.sqlstate.startswith(_DATA_CLASSES):
            return DataRejected(f"{name} ({error.sqlstate})")
        return StoreUnavailable(f"{name} ({error.sqlstate}): {error.diag.message_primary}")
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith(_SQLITE_DATA_ERRORS) or isinstance(error, sqlite3.DataError):
            return DataRejected(f"{name} ({code or 'SQLITE_TOOBIG'})")
        return StoreUnavailable(f"{name} ({code}): {error}")
    return DataRejected(name) if isinstance(error, ValueError) else StoreUnavailable(f"{name}: {error}")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _make_private(path: Path) -> None:
    """Makes the file and its directory, which only their owner may enter: the texts of all notifications lie there."""
    try:
        if path.exists():
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=stat.S_IRUSR | stat.S_IWUSR, exist_ok=True)
    except OSError as exc:
        raise StoreUnavailable(f"cannot find or make the file of the database: {exc.strerror}") from exc
