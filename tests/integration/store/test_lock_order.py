"""Tests that whoever changes several inboxes locks them in one order, so that no two writers wait for each other.

PostgreSQL ends a deadlock by itself, so a test that only counts what was stored would not notice it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from shared.store.inboxes.changes import lock
from shared.store.store import TOMBSTONE_MS, Store
from shared.store.values import Owner
from tests.integration.store.conftest import Clock
from tests.support.stores import Databases, new
from tests.support.waiting import eventually

# By their bytes the capital letter comes first. By the rules of the database's language it comes last.
FIRST, LAST = Owner("B"), Owner("a")


@pytest.fixture
def store(databases: Databases, clock: Clock) -> Iterator[Store]:
    """Yields a store in which both users have a row that is expired, one that is old, and one that is long deleted."""
    with databases.empty("postgresql") as url:
        opened = Store(url, now_ms=clock)
        for owner in (LAST, FIRST):
            (change,) = opened.insert(
                [new(owner.user_id, "1", expires_ms=clock.now_ms), new(owner.user_id, "2")]
            ).changes
            opened.delete(owner, [change.rows[1].id])
        clock.now_ms += TOMBSTONE_MS + 1
        with psycopg.connect(url) as own:
            # In the table itself the last one comes first.
            for owner in (LAST, FIRST):
                own.execute("UPDATE inbox SET created_ms = 0 WHERE user_id = %s", [owner.user_id])
        yield opened
        opened.close()


ACTS: dict[str, Callable[[Store], object]] = {
    "insert": lambda store: store.insert([new(owner.user_id, "3") for owner in (LAST, FIRST)]),
    "repeat": lambda store: store.insert([new(owner.user_id, "1") for owner in (LAST, FIRST)]),
    "expire": lambda store: list(store.expire()),
    "retain": lambda store: list(store.retain(1)),
    "purge": lambda store: store.purge(),
    "delivered": lambda store: store.raise_delivered({LAST: 1, FIRST: 1}),
    "seen": lambda store: store.raise_seen({LAST: 1, FIRST: 1}),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_the_inboxes_are_locked_in_the_order_of_their_bytes(store: Store, act: Callable[[Store], object]) -> None:
    url = store.database._url
    with psycopg.connect(url) as other, ThreadPoolExecutor(1) as thread:
        other.execute("SELECT 1 FROM inbox WHERE user_id = %s FOR UPDATE", [LAST.user_id])
        acting = thread.submit(act, store)
        eventually(lambda: waits_for_a_lock(url))
        assert is_locked(url, FIRST)
        other.rollback()
        acting.result(timeout=10)


def test_an_inbox_that_a_writer_has_looked_at_is_locked_until_it_commits(store: Store) -> None:
    """Otherwise two writers would give the same offset, or the later one would be seen first."""
    url = store.database._url
    with store.database.writing() as connection:
        assert lock(connection, FIRST) is not None
        assert (is_locked(url, FIRST), is_locked(url, LAST)) == (True, False)
    assert not is_locked(url, FIRST)


def waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as own:
        return own.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone() == (1,)


def is_locked(url: str, owner: Owner) -> bool:
    with psycopg.connect(url) as own:
        try:
            own.execute("SELECT 1 FROM inbox WHERE user_id = %s FOR UPDATE NOWAIT", [owner.user_id])
        except psycopg.errors.LockNotAvailable:
            return True
    return False
