"""Migrates the database, and checks that its tables are those that this version knows."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection

from shared.errors import SchemaMismatch
from shared.store.database import Database

#: Every revision of the tables, oldest first. The files under migrations/versions have the same names.
REVISIONS = ("0001",)
_TABLE = "alembic_version"
#: The key of the advisory lock under which one process at a time migrates a PostgreSQL.
_MIGRATION_LOCK = 0x6E6F_7469_6679
_UPGRADE = "run ./notify store upgrade (python -m ops store upgrade in a container)"


def revision_of(database: Database) -> str | None:
    """Returns the revision of the tables, None if there are none. Raises StoreUnavailable."""
    with database.reading() as connection:
        return _revision(connection)


def check(database: Database) -> None:
    """Raises SchemaMismatch if the tables are older or newer than this version. Raises StoreUnavailable."""
    _check_known(found := revision_of(database))
    if found != REVISIONS[-1]:
        is_ = "has no tables yet" if found is None else f"is older than this version ({found}, not {REVISIONS[-1]})"
        raise SchemaMismatch(f"the database {is_}: {_UPGRADE}", empty=found is None)


def upgrade(database: Database) -> list[str]:
    """Brings the tables to the newest revision, in one transaction. Returns the revisions that it applied.

    Raises SchemaMismatch if the database is newer than this version, and StoreUnavailable.
    """
    with database.maintaining() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        _check_known(found := _revision(connection))
        missing = list(REVISIONS if found is None else REVISIONS[REVISIONS.index(found) + 1 :])
        if missing:
            _run_migrations(connection)
    return missing


def _check_known(revision: str | None) -> None:
    if revision is not None and revision not in REVISIONS:
        raise SchemaMismatch(
            f"the database is newer than this version ({revision}, not {REVISIONS[-1]}): run the newer version, or put"
            " back the database from before the upgrade and then run ./notify store restored"
        )


def _revision(connection: Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table(_TABLE):
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {_TABLE}").scalar()
    return None if found is None else str(found)


def _run_migrations(connection: Connection) -> None:
    # Importing Alembic takes longer than the check that every process makes when it starts.
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
