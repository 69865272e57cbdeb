"""Tests that no error of the database shows what is stored: its text and its traceback may end in a log."""

from __future__ import annotations

import traceback
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError, StatementError

from shared.errors import DataRejected, NotifyError
from shared.store.database import Database

SECRET = "ada@secret.example"


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def refused_by_sqlite(path: Path) -> NotifyError:
    database = Database(f"sqlite:///{path}")
    with pytest.raises(NotifyError) as caught, database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE users (name TEXT UNIQUE)")
        for _ in range(2):
            connection.exec_driver_sql("INSERT INTO users VALUES (?)", (SECRET,))
    database.close()
    return caught.value


def test_the_values_of_a_statement_are_not_shown(tmp_path: Path) -> None:
    error = refused_by_sqlite(tmp_path / "notify.db")
    assert isinstance(error, DataRejected)
    assert "SQLITE_CONSTRAINT" in str(error)
    assert SECRET not in shown(error)


def test_the_values_in_the_text_of_a_cause_are_not_shown(tmp_path: Path) -> None:
    quoted = psycopg.errors.UniqueViolation(f"duplicate key\nDETAIL: Key (user_id)=({SECRET}) already exists.")
    database = Database(f"sqlite:///{tmp_path}/notify.db")
    unreadable = StatementError("no such type", "INSERT", (SECRET,), TypeError())
    for cause in (quoted, IntegrityError("INSERT", None, quoted), unreadable):
        with pytest.raises(NotifyError) as caught, database.writing():
            raise cause
        assert SECRET not in shown(caught.value)
    database.close()
