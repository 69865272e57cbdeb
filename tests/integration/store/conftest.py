"""Provides the store, on each of the two databases."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy

from shared.store.store import Store


class Clock:
    """Shows the time that a test sets, milliseconds."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reverse(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA reverse_unordered_selects = ON")


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store(database_url, now_ms=clock)
    if opened.database.is_sqlite:
        # Rows come in the order of the table only where a statement says so.
        sqlalchemy.event.listen(opened.database._engine, "connect", reverse)
    yield opened
    opened.close()
