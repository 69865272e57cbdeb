"""Tests the outbox in a real PostgreSQL: which rows are taken, and who is woken when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ops.servers import PostgreSQLServer
from shared.errors import BadSettings, StoreUnavailable
from shared.store.outbox import Bell, Outbox
from tests.support.outbox import empty_database, insert, install
from tests.support.waiting import eventually

MOST_BYTES = 65_536


@pytest.fixture
def outbox(outbox_url: str) -> Iterator[Outbox]:
    opened = Outbox(outbox_url)
    yield opened
    opened.close()


@pytest.fixture
def other(outbox_url: str) -> Iterator[Outbox]:
    """Yields what a second relay has."""
    opened = Outbox(outbox_url)
    yield opened
    opened.close()


@pytest.fixture
def bell(outbox_url: str) -> Iterator[Bell]:
    """Yields a bell that listens already."""
    opened = Bell(outbox_url)
    opened.wait(0)
    yield opened
    opened.close()


def claimed(outbox: Outbox, after: int = 0, limit: int = 500) -> list[str]:
    return [row.request_id for row in outbox.claim(after, limit, MOST_BYTES)]


def test_rows_are_claimed_once_committed_and_no_more_once_marked(
    outbox: Outbox, upstream: psycopg.Connection[Any]
) -> None:
    ids = insert(upstream, 3, "a")
    assert claimed(outbox) == []
    upstream.commit()
    rows = outbox.claim(0, 500, MOST_BYTES)
    assert [row.request_id for row in rows] == ids
    outbox.settle([rows[0].id], {rows[1].id: "message: required"})
    left = outbox.claim(0, 500, MOST_BYTES)
    assert [row.request_id for row in left] == [ids[2]]
    outbox.settle([left[0].id], {})
    assert claimed(outbox) == []
    marks = upstream.execute(
        "SELECT published_at IS NOT NULL, failed_at IS NOT NULL, error FROM notification_outbox ORDER BY id"
    ).fetchall()
    assert marks == [(True, False, None), (False, True, "message: required"), (True, False, None)]


def test_two_relays_never_hold_the_same_row(outbox: Outbox, other: Outbox, upstream: psycopg.Connection[Any]) -> None:
    ids = insert(upstream, 10, "a")
    upstream.commit()
    assert claimed(outbox, limit=4) == ids[:4]
    assert claimed(other) == ids[4:]


def test_the_rows_of_a_relay_that_dies_are_free_again(
    outbox: Outbox, other: Outbox, upstream: psycopg.Connection[Any]
) -> None:
    ids = insert(upstream, 3, "a")
    upstream.commit()
    assert claimed(outbox) == ids
    outbox.close()
    assert eventually(lambda: claimed(other)) == ids


def test_a_row_that_is_committed_late_is_not_skipped(
    outbox: Outbox, upstream: psycopg.Connection[Any], outbox_url: str
) -> None:
    late = insert(upstream, 1, "late")
    with psycopg.connect(outbox_url) as quick:
        insert(quick, 5, "quick")
    rows = outbox.claim(0, 500, MOST_BYTES)
    assert len(rows) == 5
    outbox.settle([row.id for row in rows], {})
    upstream.commit()
    [row] = outbox.claim(0, 500, MOST_BYTES)
    assert [row.request_id] == late
    assert row.id < rows[0].id


def test_a_mark_without_its_claim_is_an_error_and_marks_nothing(
    outbox: Outbox, upstream: psycopg.Connection[Any], outbox_url: str
) -> None:
    insert(upstream, 1, "a")
    upstream.commit()
    [row] = outbox.claim(0, 500, MOST_BYTES)
    with psycopg.connect(outbox_url, autocommit=True) as operator:
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'notify-relay' AND datname = current_database()"
        )
    with pytest.raises(StoreUnavailable):
        outbox.settle([row.id], {})
    # The connection is made anew, without the lock; a mark by it could be for a row that another relay holds.
    with pytest.raises(StoreUnavailable, match="was lost"):
        outbox.settle([row.id], {})
    assert claimed(outbox) == [row.request_id]


def test_an_envelope_that_is_too_large_is_not_read(outbox: Outbox, upstream: psycopg.Connection[Any]) -> None:
    upstream.execute("""INSERT INTO notification_outbox (envelope) VALUES ('{"a": "bcd"}')""")
    upstream.commit()
    [whole] = outbox.claim(0, 1, 12)
    assert (whole.envelope, whole.envelope_bytes) == ('{"a": "bcd"}', 12)
    outbox.settle([], {})
    [cut] = outbox.claim(0, 1, 11)
    assert (cut.envelope, cut.envelope_bytes) == (None, 12)


def test_a_transaction_wakes_a_relay_only_while_it_sleeps(
    outbox: Outbox, bell: Bell, upstream: psycopg.Connection[Any]
) -> None:
    insert(upstream, 1, "a")
    upstream.commit()
    assert not bell.wait(0.2)
    outbox.set_asleep(True)
    insert(upstream, 1, "b")
    assert not bell.wait(0.2)
    upstream.commit()
    assert bell.wait(5)
    outbox.set_asleep(False)
    insert(upstream, 1, "c")
    upstream.commit()
    assert not bell.wait(0.2)


def test_a_bell_is_heard_while_it_is_waited_for(outbox: Outbox, bell: Bell, upstream: psycopg.Connection[Any]) -> None:
    outbox.set_asleep(True)
    heard = threading.Event()

    def wait() -> None:
        if bell.wait(30):
            heard.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    insert(upstream, 1, "a")
    upstream.commit()
    assert heard.wait(5)
    waiting.join()


def test_a_role_that_may_only_insert_can_wake_the_relay(
    outbox: Outbox, bell: Bell, upstream: psycopg.Connection[Any]
) -> None:
    upstream.execute("DROP ROLE IF EXISTS app")
    upstream.execute("CREATE ROLE app")
    upstream.execute("GRANT INSERT ON notification_outbox TO app")
    upstream.commit()
    outbox.set_asleep(True)
    upstream.execute("SET ROLE app")
    insert(upstream, 1, "a")
    upstream.commit()
    assert bell.wait(5)
    upstream.execute("RESET ROLE")
    upstream.execute("DROP OWNED BY app")
    upstream.execute("DROP ROLE app")


def test_published_rows_are_removed_after_their_time_and_others_are_not(
    outbox: Outbox, upstream: psycopg.Connection[Any]
) -> None:
    insert(upstream, 3, "a")
    upstream.commit()
    rows = outbox.claim(0, 500, MOST_BYTES)
    outbox.settle([rows[0].id, rows[1].id], {})
    upstream.execute(
        "UPDATE notification_outbox SET published_at = now() - interval '2 days' WHERE id = %s", (rows[0].id,)
    )
    upstream.commit()
    assert outbox.sweep(86_400) == 1
    assert outbox.sweep(86_400) == 0
    left = upstream.execute("SELECT id FROM notification_outbox ORDER BY id").fetchall()
    assert left == [(rows[1].id,), (rows[2].id,)]


def test_the_age_of_the_oldest_row(outbox: Outbox, upstream: psycopg.Connection[Any]) -> None:
    assert outbox.oldest_s() == 0
    insert(upstream, 1, "a")
    upstream.execute("UPDATE notification_outbox SET created_at = now() - interval '1 hour'")
    upstream.commit()
    assert 3600 <= outbox.oldest_s() < 3700


def test_the_file_may_be_installed_again(outbox_url: str, outbox: Outbox, upstream: psycopg.Connection[Any]) -> None:
    ids = insert(upstream, 1, "a")
    upstream.commit()
    install(outbox_url)
    assert claimed(outbox) == ids


def test_a_database_without_an_outbox_is_a_bad_setting(postgresql: PostgreSQLServer) -> None:
    with empty_database(postgresql) as url:
        outbox = Outbox(url)
        with pytest.raises(BadSettings, match=r"OUTBOX_URL.*ops/sql/outbox\.sql"):
            outbox.check()
        outbox.close()
