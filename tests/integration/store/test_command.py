"""Tests ``./notify store`` on both databases."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ops.processes import Identity, PidFile
from ops.store.command import store as command
from shared import clock as real_clock
from shared.store import schema
from shared.store.store import TOMBSTONE_MS, Store
from shared.store.values import Owner
from tests.integration.store.conftest import Clock
from tests.support.stores import new


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the directory of a system without settings of its own."""
    monkeypatch.setenv("NOTIFY_LOCAL_DIR", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def given(place: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Returns a store whose database is given by DATABASE_URL."""
    monkeypatch.setenv("DATABASE_URL", store.database._url)
    return store


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def failed(result: Result) -> tuple[object, str]:
    """Returns the exit code that the command line would have, and the text."""
    return getattr(result.exception, "exit_code", None), str(result.exception)


def test_without_a_setting_the_database_is_a_file_of_the_place(place: Path) -> None:
    assert run("upgrade").output == f"Database: SQLite, {place}/store/notify.db, upgraded to 0001\n"
    assert run("upgrade").output == f"Database: SQLite, {place}/store/notify.db, up to date\n"
    assert (place / "store/notify.db").exists()
    assert (place / "store").stat().st_mode & 0o077 == 0


def test_status_shows_what_is_there(given: Store) -> None:
    change = given.insert([new("ann", "1"), new("ann", "2"), new("bob", "1")]).changes[0]
    given.delete(change.owner, [change.rows[0].id])
    shown = run("status")
    assert shown.exit_code == 0
    words = " ".join(shown.output.split())
    assert "0001 (this version has 0001) inboxes 2 notifications 2, of which unread 2 tombstones 1 size 0." in words


@pytest.mark.parametrize("arguments", [["status"], ["restored"], ["tidy"], ["upgrade"]], ids=" ".join)
def test_a_newer_database_is_refused_by_every_command(given: Store, arguments: list[str]) -> None:
    given.insert([new("ann", "1")])
    before = given.positions([Owner("ann")])
    with given.database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    code, text = failed(run(*arguments))
    assert code == 2
    assert "DATABASE_URL: the database is newer than this version (0999, not 0001)" in text
    assert given.positions([Owner("ann")]) == before


def test_an_older_database_is_refused_until_it_is_upgraded(place: Path) -> None:
    (place / "store").mkdir()
    sqlite3.connect(place / "store/notify.db").close()
    for name in ("status", "restored", "tidy"):
        code, text = failed(run(name))
        assert code == 2
        assert "run ./notify store upgrade" in text
    assert run("upgrade").exit_code == 0
    assert run("status").exit_code == 0


def test_a_database_that_does_not_answer_is_named_without_its_password(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hidden@127.0.0.1:1/notify")
    for name in ("status", "upgrade", "restored", "tidy"):
        code, text = failed(run(name))
        assert code == 1
        assert text.startswith("Database PostgreSQL, 127.0.0.1:1: ")
        assert "hidden" not in text


def test_restored_gives_fresh_epochs_but_not_under_a_running_system(given: Store, place: Path) -> None:
    given.insert([new("ann", "1")])
    before = given.positions([Owner("ann")])
    myself = Identity.of(os.getpid())
    assert myself is not None
    record = PidFile(place / "run/up.pid")
    record.write(myself)
    assert failed(run("restored")) == (4, "Stop the system first: ./notify down")
    assert given.positions([Owner("ann")]) == before
    record.remove()
    assert "1 inboxes have a fresh epoch" in run("restored").output
    assert given.positions([Owner("ann")]) != before


def test_tidy_removes_what_is_old_expired_or_long_deleted(
    given: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    day_ms = 86_400_000
    now_ms = real_clock.now_ms()
    clock.now_ms = now_ms - 91 * day_ms
    given.insert([new("ann", "old"), new("bob", "deleted")])
    clock.now_ms = now_ms - TOMBSTONE_MS - 1
    given.delete(Owner("bob"), [row.id for row in given.page(Owner("bob")).items])
    given.insert([new("ann", "expired", expires_ms=now_ms - 1), new("ann", "kept", expires_ms=now_ms + day_ms)])
    assert run("tidy").output == "2 notifications are removed, and 1 traces of earlier ones.\n"
    assert [row.request_id for row in given.page(Owner("ann")).items] == ["kept"]
    monkeypatch.setenv("INBOX_DAYS", "5")
    assert run("tidy").output == "1 notifications are removed, and 0 traces of earlier ones.\n"


def test_the_newest_revision_is_the_last() -> None:
    assert schema.REVISIONS[-1] == max(schema.REVISIONS)
