"""Provides the store, on each of the two databases."""

from collections.abc import Iterator

import pytest

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


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store(database_url, now_ms=clock)
    yield opened
    opened.close()
