"""Tests that migrations make the tables that the code describes, once, whoever starts them, and all or nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import alembic.config
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ops.servers import PostgreSQLServer
from shared.errors import BadSettings, SchemaMismatch, StoreUnavailable
from shared.store import schema
from shared.store.store import Store
from shared.store.tables import metadata
from tests.support.stores import Databases


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[str]:
    """Yields the address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new/notify.db"
        return
    with databases.empty("postgresql") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP TABLE inbox, notifications, alembic_version")
        yield url


@pytest.fixture
def bare(bare_url: str) -> Iterator[Store]:
    opened = Store(bare_url)
    yield opened
    opened.close()


def set_revision(store: Store, revision: str) -> None:
    with store.database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")


def test_the_migrations_make_the_tables_that_the_code_describes(bare: Store) -> None:
    assert schema.upgrade(bare.database) == list(schema.REVISIONS)
    with bare.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        # What Alembic does not compare.
        if bare.database.is_sqlite:
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
            definitions = {row[0]: row[1] for row in connection.exec_driver_sql(query)}
            assert "WITHOUT ROWID" in definitions["inbox"]
            assert "AUTOINCREMENT" in definitions["notifications"]
        else:
            options = "SELECT reloptions FROM pg_class WHERE relname = 'inbox'"
            assert connection.exec_driver_sql(options).scalar() == ["fillfactor=70"]
            collations = (
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_name = 'notifications' AND collation_name = 'C' ORDER BY 1"
            )
            found = [row[0] for row in connection.exec_driver_sql(collations)]
            assert found == ["client", "request_id", "tenant", "user_id"]
    bare.check_schema()
    assert schema.upgrade(bare.database) == []


def test_the_partial_indexes_are_those_of_the_code(bare: Store) -> None:
    schema.upgrade(bare.database)
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if bare.database.is_sqlite
        else "SELECT indexname, indexdef FROM pg_indexes WHERE indexdef LIKE '%%.notifications %% WHERE %%'"
    )
    with bare.database.reading() as connection:
        found = {row[0]: row[1].lower().replace("(", "").replace(")", "") for row in connection.exec_driver_sql(query)}
    assert {name: definition.partition(" where ")[2] for name, definition in found.items()} == {
        "notifications_unread": "read_ms is null and archived_ms is null and deleted_ms is null",
        "notifications_expiring": "expires_ms is not null and deleted_ms is null",
        "notifications_deleted": "deleted_ms is not null",
    }


def test_the_revisions_are_those_of_the_files() -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(schema.__file__).with_name("migrations")))
    files = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(files)) == schema.REVISIONS


def test_a_database_without_tables_is_refused_with_what_to_do(bare: Store) -> None:
    with pytest.raises(
        SchemaMismatch, match=r"DATABASE_URL: the database has no tables yet: run ./notify store upgrade"
    ):
        bare.check_schema()
    assert issubclass(SchemaMismatch, BadSettings)


def test_an_older_database_is_refused_until_it_is_upgraded(bare: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.upgrade(bare.database)
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "0002"))
    with pytest.raises(SchemaMismatch, match=r"older than this version \(0001, not 0002\): run ./notify store upgrade"):
        bare.check_schema()


def test_a_newer_database_is_refused_and_never_touched(bare: Store) -> None:
    schema.upgrade(bare.database)
    set_revision(bare, "0999")
    with pytest.raises(SchemaMismatch, match=r"newer than this version \(0999, not 0001\)"):
        bare.check_schema()
    with pytest.raises(SchemaMismatch, match="newer than this version"):
        schema.upgrade(bare.database)
    assert schema.revision_of(bare.database) == "0999"


def test_tables_that_fit_are_looked_at_once(bare: Store) -> None:
    schema.upgrade(bare.database)
    bare.check_schema()
    set_revision(bare, "0999")
    bare.check_schema()
    with pytest.raises(SchemaMismatch):
        schema.check(bare.database)


#: All wait for the same second before they begin, so that they meet.
_UPGRADE = """
import sys, time
import alembic.command
from shared.store import schema
from shared.store.database import Database
time.sleep(1.5 - time.time() % 1)
print(schema.upgrade(Database(sys.argv[1])))
"""


def test_only_one_of_several_processes_migrates(bare_url: str) -> None:
    command = [sys.executable, "-c", _UPGRADE, bare_url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        said = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert sorted(said, key=len) == ["[]\n", "[]\n", "[]\n", f"{list(schema.REVISIONS)}\n"]


def test_a_migration_that_fails_leaves_nothing_behind(bare: Store) -> None:
    # The second of the two tables is there already.
    with bare.database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE notifications (id INTEGER)")
    with pytest.raises(StoreUnavailable, match="already exists"):
        schema.upgrade(bare.database)
    assert schema.revision_of(bare.database) is None
    with bare.database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE notifications")
    assert schema.upgrade(bare.database) == list(schema.REVISIONS)


def test_a_database_without_unicode_is_refused_in_words(postgresql: PostgreSQLServer) -> None:
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0")
        try:
            opened = Store(postgresql.database_url("ascii"), connections=1)
            for refused in (opened.check_schema, lambda: schema.upgrade(opened.database)):
                with pytest.raises(
                    SchemaMismatch, match="the encoding SQL_ASCII: make it with ENCODING UTF8"
                ) as raised:
                    refused()
                assert not raised.value.empty
            opened.close()
        finally:
            connection.execute("DROP DATABASE ascii WITH (FORCE)")
