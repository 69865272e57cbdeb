"""Tests a database that is busy, full, away, frozen or cannot write: typed errors, and what was stored stays."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ops.servers import PostgreSQLServer
from shared.errors import StoreUnavailable
from shared.store import database, watchdog, write_lock
from shared.store.store import Store
from shared.store.values import Owner, Repeated, Stored
from shared.store.write_lock import WriteLock
from tests.support.stores import Databases, check_inboxes, new, rows_of
from tests.support.waiting import eventually

ANN = Owner("ann")


@pytest.fixture
def sqlite(databases: Databases) -> Iterator[Store]:
    with databases.empty("sqlite") as url:
        opened = Store(url)
        yield opened
        opened.close()


@pytest.fixture
def postgres(databases: Databases) -> Iterator[Store]:
    with databases.empty("postgresql") as url:
        opened = Store(url)
        yield opened
        opened.close()


def file_of(store: Store) -> Path:
    assert store.database.path is not None
    return store.database.path


# -- SQLite ---------------------------------------------------------------------------------------------------------


def test_a_writer_that_ignores_the_lock_file_is_waited_for_only_so_long(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.2)
    other = sqlite3.connect(file_of(sqlite), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        sqlite.insert([new("ann", "1")])
    # Readers do not wait for writers.
    assert sqlite.summary(ANN).unread == 0
    other.execute("ROLLBACK")
    other.close()
    assert isinstance(sqlite.insert([new("ann", "1")]).results[0], Stored)


def test_a_frozen_process_with_the_lock_is_waited_for_only_so_long(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lock, "PATIENCE_S", 0.2)
    holder = os.open(file_of(sqlite).with_name("notify.db.write"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="another process writes"):
            sqlite.insert([new("ann", "1")])
    os.close(holder)
    monkeypatch.setattr(write_lock, "PATIENCE_S", 20)
    # The helpers that still waited have given the lock back.
    assert isinstance(sqlite.insert([new("ann", "1")]).results[0], Stored)
    assert isinstance(sqlite.insert([new("ann", "2")]).results[0], Stored)


def test_a_thread_that_writes_for_long_is_waited_for_only_so_long(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lock, "PATIENCE_S", 0.2)
    failed: list[str] = []

    def insert() -> None:
        try:
            sqlite.insert([new("ann", "1")])
        except StoreUnavailable as exc:
            failed.append(str(exc))

    with sqlite.database.writing():
        thread = threading.Thread(target=insert)
        thread.start()
        thread.join()
    assert failed == ["the database is busy: another thread of this process writes"]


def test_whoever_has_written_leaves_the_lock_to_others_for_a_moment(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lock, "LEFT_TO_OTHERS_S", 0.3)
    mine, other = WriteLock(file_of(sqlite)), WriteLock(file_of(sqlite))
    with mine.held():
        pass
    released_s = time.monotonic()
    with other.held():
        taken_s = time.monotonic()
    with mine.held():
        again_s = time.monotonic()
    assert again_s - released_s > 0.25
    assert taken_s < again_s
    mine.close()
    other.close()


#: Inserts batches of ten until the database refuses, and prints the request ids of what was stored.
_UNTIL_FULL = """
import resource, sys
from shared.errors import StoreUnavailable
from shared.store.store import Store
from shared.store.values import Stored
from tests.support.stores import new
store = Store(sys.argv[1])
store.insert([new("ann", "first")])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for number in range(10_000):
    batch = [new(f"user {n}", f"{number} {n}", body="x" * 2000) for n in range(10)]
    try:
        results = store.insert(batch).results
    except StoreUnavailable as exc:
        print("refused", exc)
        break
    print(*(f"{n.user_id}/{n.request_id}" for n, r in zip(batch, results) if isinstance(r, Stored)), sep="\\n")
print(store.summary(batch[0].owner).unread)
"""


def test_a_full_disk_keeps_everything_that_was_said_to_be_stored(sqlite: Store) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _UNTIL_FULL, sqlite.database._url, str(2_000_000)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *stored, refused, unread = ran.stdout.splitlines()
    assert refused.startswith("refused OperationalError (SQLITE_")
    rows = {f"{user}/{request}" for user, request in rows_of(sqlite, "user_id, request_id")} - {"ann/first"}
    assert rows == set(stored)
    assert len(rows) >= 50
    # It could still be read, and it can be written again when there is room.
    assert int(unread) == len(rows) / 10
    number = len(rows) // 10
    batch = [new(f"user {n}", f"{number} {n}", body="x" * 2000) for n in range(10)]
    assert [type(result) for result in sqlite.insert(batch).results] == [Stored] * 10
    check_inboxes(sqlite)


def test_a_database_that_cannot_be_written_or_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "notify.db", tmp_path):
        store = Store(f"sqlite:///{path}")
        with pytest.raises(StoreUnavailable):
            store.insert([new("ann", "1")])
        with pytest.raises(StoreUnavailable):
            store.summary(ANN)
        store.close()
    (tmp_path / "broken.db").write_bytes(b"not a database" * 1000)
    store = Store(f"sqlite:///{tmp_path}/broken.db")
    with pytest.raises(StoreUnavailable, match="SQLITE_NOTADB"):
        store.summary(ANN)
    store.close()


def test_only_its_owner_can_read_the_database(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/new/notify.db")
    with store.database.maintaining() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "new").iterdir()}
    assert modes == dict.fromkeys(["notify.db", "notify.db-wal", "notify.db-shm", "notify.db.write"], 0)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    store.close()


def test_a_commit_survives_a_loss_of_power(sqlite: Store) -> None:
    with sqlite.database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


# -- PostgreSQL -----------------------------------------------------------------------------------------------------


def test_a_locked_inbox_is_waited_for_only_so_long(postgres: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.insert([new("ann", "1")])
    monkeypatch.setattr(database, "LIMITS", "SET LOCAL lock_timeout = '200ms'")
    with psycopg.connect(postgres.database._url) as other:
        other.execute("SELECT * FROM inbox FOR UPDATE")
        for act in (
            lambda: postgres.insert([new("ann", "2")]),
            lambda: postgres.read_all(ANN, 1_000),
            lambda: postgres.erase(ANN),
        ):
            with pytest.raises(StoreUnavailable, match="55P03"):
                act()
        assert isinstance(postgres.insert([new("bob", "1")]).results[0], Stored)
        other.rollback()
    assert isinstance(postgres.insert([new("ann", "2")]).results[0], Stored)
    check_inboxes(postgres)


def test_every_transaction_has_its_limits_and_keeps_none(postgres: Store) -> None:
    def limits(query: str = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')") -> object:
        return tuple(connection.exec_driver_sql(query).one())

    with postgres.database.writing() as connection:
        assert limits() == ("3s", "5s")
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    with postgres.database.reading() as connection:
        assert limits() == ("3s", "5s")
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"
        assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
    with postgres.database.maintaining() as connection:
        assert limits() == ("0", "0")


@pytest.mark.parametrize("condition", ["disk_full", "too_many_connections", "read_only_sql_transaction", "io_error"])
def test_a_server_that_cannot_write_now_is_unavailable(postgres: Store, condition: str) -> None:
    with psycopg.connect(postgres.database._url, autocommit=True) as own:
        own.execute(
            f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" BEGIN RAISE EXCEPTION USING ERRCODE = '{condition}'; END $$".encode()
        )
        own.execute("CREATE TRIGGER fails BEFORE INSERT ON notifications EXECUTE FUNCTION fail()")
        with pytest.raises(StoreUnavailable):
            postgres.insert([new("ann", "1"), new("bob", "1")])
        own.execute("DROP TRIGGER fails ON notifications")
    assert rows_of(postgres, table="inbox") == []
    assert [type(result) for result in postgres.insert([new("ann", "1"), new("bob", "1")]).results] == [Stored] * 2


def test_a_key_too_long_for_an_index_is_the_fault_of_the_data(postgres: Store) -> None:
    long = "".join(f"{n:x}" for n in range(20_000))
    kinds = [type(result).__name__ for result in postgres.insert([new("ann", "1"), new(long, "1")]).results]
    assert kinds == ["Stored", "Rejected"]


def cut_connections(store: Store) -> None:
    with psycopg.connect(store.database._url, autocommit=True) as own:
        own.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_nobody_notices_that_idle_connections_were_cut(postgres: Store) -> None:
    postgres.insert([new("ann", "1")])
    cut_connections(postgres)
    assert postgres.summary(ANN).unread == 1
    cut_connections(postgres)
    assert isinstance(postgres.insert([new("ann", "2")]).results[0], Stored)


def test_a_transaction_that_was_cut_is_an_error_and_has_done_nothing(postgres: Store) -> None:
    with pytest.raises(StoreUnavailable), postgres.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM inbox")
        cut_connections(postgres)
        connection.exec_driver_sql("SELECT 1")
    assert postgres.insert([new("ann", "1")]).results != ()


def test_a_server_that_is_away_is_unavailable_and_found_again(postgres: Store, postgresql: PostgreSQLServer) -> None:
    (first,) = postgres.insert([new("ann", "1")]).results
    assert isinstance(first, Stored)
    postgresql.kill()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            postgres.insert([new("ann", "2")])
        with pytest.raises(StoreUnavailable):
            postgres.summary(ANN)
    postgresql.start()
    assert postgres.insert([new("ann", "1")]).results == (Repeated(first.id),)
    assert isinstance(postgres.insert([new("ann", "2")]).results[0], Stored)
    check_inboxes(postgres)


def test_a_frozen_server_is_given_up_in_time(
    postgres: Store, postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "SILENCE_S", 0.5)
    postgres.insert([new("ann", "1")])
    postgresql.pause()
    try:
        began_s = time.monotonic()
        for act in (lambda: postgres.insert([new("ann", "2")]), lambda: postgres.summary(ANN)):
            with pytest.raises(StoreUnavailable):
                act()
        assert time.monotonic() - began_s < 15
    finally:
        postgresql.resume()
    eventually(lambda: postgresql.answers())
    assert type(postgres.insert([new("ann", "2")]).results[0]) in (Stored, Repeated)
    check_inboxes(postgres)


def test_a_server_that_only_reads_is_not_used_not_even_for_reading(postgres: Store) -> None:
    """It may be a replica, which shows the past."""
    with psycopg.connect(postgres.database._url, autocommit=True) as own:
        own.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',"
            " current_database()); END $$"
        )
    with pytest.raises(StoreUnavailable, match="read-only"):
        postgres.summary(ANN)
