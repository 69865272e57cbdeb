"""Tests a SQLite database that is busy, full, read-only or not there: typed errors, and what was stored stays."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from shared.errors import StoreUnavailable
from shared.store import database, schema, write_lock
from shared.store.store import Store
from shared.store.values import Owner, Rejected, Stored
from shared.store.write_lock import WriteLock
from tests.support.full_disks import full_disk
from tests.support.stores import Databases, check_inboxes, new, rows_of

ANN = Owner("ann")


@pytest.fixture
def sqlite(databases: Databases) -> Iterator[Store]:
    with databases.empty("sqlite") as url:
        opened = Store(url)
        yield opened
        opened.close()


def file_of(store: Store) -> Path:
    assert store.database.path is not None
    return store.database.path


def test_a_writer_that_ignores_the_lock_file_is_waited_for(sqlite: Store) -> None:
    other = sqlite3.connect(file_of(sqlite), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    commits = threading.Timer(0.3, other.execute, ["COMMIT"])
    commits.start()
    assert isinstance(sqlite.insert([new("ann", "1")]).results[0], Stored)
    commits.join()
    other.close()


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


@pytest.mark.parametrize("kind", ["writing", "maintaining"])
def test_nobody_else_writes_between_the_reads_and_the_writes_of_a_transaction(sqlite: Store, kind: str) -> None:
    """SQLite would refuse such a transaction at its first write, and waiting would not help."""
    other = sqlite3.connect(file_of(sqlite), timeout=0, isolation_level=None)
    with getattr(sqlite.database, kind)() as connection:
        connection.exec_driver_sql("SELECT * FROM inbox").all()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("DELETE FROM inbox")
        connection.exec_driver_sql("DELETE FROM inbox")
    other.execute("DELETE FROM inbox")
    other.close()


def test_a_frozen_process_with_the_lock_is_waited_for_only_so_long(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lock, "PATIENCE_S", 0.2)
    holder = os.open(file_of(sqlite).with_name("notify.db.write"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    for act in (lambda: sqlite.insert([new("ann", "1")]), sqlite.restored, lambda: schema.upgrade(sqlite.database)):
        with pytest.raises(StoreUnavailable, match="another process writes"):
            act()
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


def test_a_full_database_takes_nothing_and_goes_on_when_there_is_room(sqlite: Store) -> None:
    (stored,) = sqlite.insert([new("ann", "1")]).results
    large = [new(f"user {n}", "1", body="x" * 10_000) for n in range(20)]
    with full_disk(sqlite):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
                sqlite.insert(large)
        assert [row.id for row in sqlite.page(ANN).items] == [getattr(stored, "id", None)]
    assert len(rows_of(sqlite, table="inbox")) == 1
    assert [type(result) for result in sqlite.insert(large).results] == [Stored] * 20
    check_inboxes(sqlite)


def test_a_database_that_is_read_only_is_unavailable_and_can_be_read(sqlite: Store) -> None:
    sqlite.insert([new("ann", "1")])
    mode = "ON"

    def set_mode(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA query_only = {mode}")

    sqlalchemy.event.listen(sqlite.database._engine, "checkout", set_mode)
    with pytest.raises(StoreUnavailable, match="SQLITE_READONLY"):
        sqlite.insert([new("ann", "2")])
    assert sqlite.summary(ANN).unread == 1
    mode = "OFF"
    assert isinstance(sqlite.insert([new("ann", "2")]).results[0], Stored)


def test_a_text_that_is_too_large_for_the_database_keeps_out_no_other(sqlite: Store) -> None:
    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)

    sqlalchemy.event.listen(sqlite.database._engine, "connect", limit)
    batch = [new("ann", "1"), new("ann", "2", body="x" * 200_000), new("bob", "3")]
    assert [type(result) for result in sqlite.insert(batch).results] == [Stored, Rejected, Stored]
    check_inboxes(sqlite)


#: Inserts one notification after the other, and prints the request id of each that was stored.
_WITHOUT_END = """
import itertools, sys
from shared.store.store import Store
from tests.support.stores import new
store = Store(sys.argv[1])
for number in itertools.count():
    store.insert([new("ann", str(number))])
    print(number, flush=True)
"""


def test_what_a_killed_process_had_stored_is_there_and_others_write_at_once(sqlite: Store) -> None:
    command = [sys.executable, "-c", _WITHOUT_END, sqlite.database._url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(50)]
        writer.kill()
        said += writer.stdout.readlines()
    stored = {row[0] for row in rows_of(sqlite, "request_id, id")}
    assert {line.strip() for line in said} <= stored
    # It may have been killed between a commit and its word.
    assert len(stored) <= len(said) + 1
    assert isinstance(sqlite.insert([new("ann", "after")]).results[0], Stored)
    check_inboxes(sqlite)


def test_a_database_that_cannot_be_written_or_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "notify.db", tmp_path, tmp_path / f"{'x' * 300}.db"):
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
        # The log of changes does not keep the size that a long reader once made it grow to.
        assert connection.exec_driver_sql("PRAGMA journal_size_limit").scalar() == 64 * 1024 * 1024


def test_a_thread_waits_for_a_connection_only_so_long(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CONNECT_S", 0.2)
    with databases.empty("sqlite") as url:
        store = Store(url, connections=1)
        with (
            store.database.reading(),
            pytest.raises(StoreUnavailable, match="all connections of this process are in use"),
        ):
            store.summary(ANN)
        assert store.summary(ANN).unread == 0
        store.close()
