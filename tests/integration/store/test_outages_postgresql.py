"""Tests a PostgreSQL that is busy, full, away, frozen or cut off: typed errors, and what was stored stays."""

import asyncio
import time
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy

from ops.servers import PostgreSQLServer
from shared.errors import StoreUnavailable
from shared.store import database, schema, watchdog
from shared.store.store import Store
from shared.store.values import Owner, Repeated, Stored
from tests.faults.proxy import Proxy, proxy
from tests.support.stores import Databases, check_inboxes, new, rows_of
from tests.support.waiting import eventually, eventually_async

ANN = Owner("ann")


@pytest.fixture
def postgres(databases: Databases) -> Iterator[Store]:
    with databases.empty("postgresql") as url:
        opened = Store(url)
        yield opened
        opened.close()


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
    with postgres.database.reading(limited=False) as connection:
        assert limits() == ("0", "0")
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"


def test_what_takes_long_in_a_large_database_has_no_limits(postgres: Store) -> None:
    begun: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("BEGIN"):
            begun.append(statement)

    sqlalchemy.event.listen(postgres.database._engine, "before_cursor_execute", note)
    postgres.totals()
    postgres.restored()
    schema.upgrade(postgres.database)
    assert len(begun) == 3
    assert not any("timeout" in statement for statement in begun)


def test_a_connection_to_a_dead_machine_ends_unless_the_address_says_otherwise(postgres: Store) -> None:
    def parameters(store: Store) -> dict[str, str]:
        with store.database.reading() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            return driver.info.get_parameters()

    found = parameters(postgres)
    assert {name: found[name] for name in ("connect_timeout", "tcp_user_timeout", "keepalives_idle")} == {
        "connect_timeout": "3",
        "tcp_user_timeout": "10000",
        "keepalives_idle": "5",
    }
    assert (found["application_name"], found["target_session_attrs"]) == ("notify", "read-write")
    chosen = Store(f"{postgres.database._url}?application_name=mine")
    assert parameters(chosen)["application_name"] == "mine"
    chosen.close()


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


async def test_a_commit_whose_answer_is_lost_is_written_again_and_found(
    postgres: Store, postgresql: PostgreSQLServer
) -> None:
    batch = [new("ann", "1"), new("bob", "1")]
    async with proxy([postgresql.port]) as between:
        store = Store(postgres.database._url.replace(f":{postgresql.port}/", f":{between.port}/"))
        loop = asyncio.get_running_loop()
        commits: list[object] = []

        def hold_the_first_answer(connection: object) -> None:
            commits.append(connection)
            if len(commits) == 1:
                asyncio.run_coroutine_threadsafe(hold(between), loop).result(10)

        sqlalchemy.event.listen(store.database._engine, "commit", hold_the_first_answer)
        writing = asyncio.create_task(asyncio.to_thread(store.insert, batch))
        await eventually_async(lambda: between.kept_bytes("down") > 0)
        between.reset()
        between.pass_on()
        with pytest.raises(StoreUnavailable):
            await writing
        stored = {row[1]: row[0] for row in rows_of(postgres, "id, user_id")}
        assert stored.keys() == {"ann", "bob"}

        again = await asyncio.to_thread(store.insert, batch)
        assert again.results == (Repeated(stored["ann"]), Repeated(stored["bob"]))
        # The process that stored them could tell nobody.
        assert {(change.owner.user_id, change.bare, change.to) for change in again.changes} == {
            ("ann", True, 1),
            ("bob", True, 1),
        }
        check_inboxes(postgres)
        store.close()


async def hold(between: Proxy) -> None:
    between.hold_answers()


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
