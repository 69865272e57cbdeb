"""Tests writers and readers at the same time: no deadlock, no offset twice, and nothing that a reader never sees."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg

from shared.store.database import Database
from shared.store.store import Store
from shared.store.values import NewNotification, Owner, Position, Stored
from tests.support.stores import check_inboxes, new, rows_of

WRITERS, BATCHES, BATCH = 4, 25, 40
HOT = [f"user {n}" for n in range(50)]


def batches_of(writer: int) -> list[list[NewNotification]]:
    """Returns a writer's batches: users in any order, every third batch again, and requests that others have too."""
    chance = random.Random(writer)
    made = []
    for number in range(BATCHES):
        batch = [new(chance.choice(HOT), f"{writer} {number} {n}") for n in range(BATCH)]
        batch += [new(chance.choice(HOT), f"of all {chance.randrange(200)}") for _ in range(BATCH // 4)]
        made.append(batch)
        if number % 3 == 0:
            made.append(list(reversed(batch)))
    return made


def run_together(*jobs: Callable[[], int]) -> list[int]:
    with ThreadPoolExecutor(len(jobs)) as threads:
        return [future.result(timeout=120) for future in [threads.submit(job) for job in jobs]]


def deadlocks(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_clear_snapshot()")
        found = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_four_writers_on_hot_users_number_every_change_once(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(WRITERS)]

    def write(number: int) -> int:
        stored, chance = 0, random.Random(-number)
        for batch in batches_of(number):
            stores[number].raise_delivered({Owner(user): 1 for user in chance.sample(HOT, 30)})
            inserted = stores[number].insert(batch)
            stored += sum(isinstance(result, Stored) for result in inserted.results)
        return stored

    counts = run_together(*(lambda number=number: write(number) for number in range(WRITERS)))
    expected = {(n.user_id, n.request_id) for number in range(WRITERS) for batch in batches_of(number) for n in batch}
    rows = rows_of(stores[0], "user_id, request_id, seq, changed_seq")
    assert {row[:2] for row in rows} == expected
    assert sum(counts) == len(rows) == len(expected)
    offsets: dict[str, list[int]] = {}
    for user_id, _, seq, changed_seq in rows:
        assert changed_seq == seq
        offsets.setdefault(user_id, []).append(seq)
    inboxes = {row[0]: row[1:] for row in rows_of(stores[0], "user_id, seq, unread, total", "inbox")}
    assert {user: sorted(found) for user, found in offsets.items()} == {
        user: list(range(1, seq + 1)) for user, (seq, _, _) in inboxes.items()
    }
    assert all(seq == unread == total for seq, unread, total in inboxes.values())
    if not stores[0].database.is_sqlite:
        assert deadlocks(database_url) == 0
    for store in stores:
        store.close()


def test_everything_at_once_keeps_the_counters_and_hides_nothing_from_a_reader(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(WRITERS + 1)]
    users = [Owner(user) for user in HOT[:3]]
    writing = threading.Event()
    writing.set()

    def write(number: int) -> int:
        store, chance = stores[number], random.Random(number)
        for turn in range(60):
            owner = chance.choice(users)
            ids = [row.id for row in store.page(owner, limit=20).items]
            some = chance.sample(ids, min(3, len(ids)))
            match chance.randrange(8):
                case 0:
                    store.delete(owner, some)
                case 1 if ids:
                    store.read_all(owner, chance.choice(ids))
                case 2 | 3:
                    store.mark(
                        owner, some, read=chance.choice((None, True, False)), archived=chance.choice((None, True))
                    )
                case 4:
                    store.purge(older_than_ms=-1)
                case _:
                    batch = [new(chance.choice(users).user_id, f"{number} {turn} {n}") for n in range(10)]
                    store.insert(batch)
        return 0

    def follow() -> int:
        """Keeps the inboxes as a device does, from position to position; returns how often it started anew."""
        shown: dict[Owner, dict[int, bool]] = {owner: {} for owner in users}
        at: dict[Owner, Position | None] = dict.fromkeys(users)
        anew = 0
        while True:
            last = not writing.is_set()
            for found in stores[WRITERS].pull(list(at.items())):
                if not found.recovered:
                    anew += 1
                    shown[found.owner] = {}
                for row in found.rows:
                    shown[found.owner].pop(row.id, None)
                    if row.counts_as_unread:
                        shown[found.owner][row.id] = True
                at[found.owner] = found.position
                # The rows and the counter are of one moment.
                assert len(shown[found.owner]) == found.unread
            if last:
                return anew

    def write_all() -> int:
        try:
            return sum(run_together(*(lambda number=number: write(number) for number in range(WRITERS))))
        finally:
            writing.clear()

    _, anew = run_together(write_all, follow)
    assert anew >= len(users)
    check_inboxes(stores[0])
    if not stores[0].database.is_sqlite:
        assert deadlocks(database_url) == 0
    for store in stores:
        store.close()


def test_the_threads_of_a_process_share_its_connections(database_url: str) -> None:
    store = Store(database_url, connections=2)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: store.insert([new("ann", str(n))]), range(40)))
        summaries = list(threads.map(lambda _: store.summary(Owner("ann")), range(40)))
    assert {(summary.unread, summary.position.offset) for summary in summaries} == {(40, 40)}
    store.close()


def test_users_are_locked_in_one_order_whatever_the_language(database_url: str) -> None:
    # By most languages' rules these three sort otherwise than by their bytes.
    users = ["a", "B", "ä"]
    store = Store(database_url)
    store.insert([new(user, "1") for user in users])
    with store.database.reading() as connection:
        found = [row[0] for row in connection.exec_driver_sql("SELECT user_id FROM inbox ORDER BY tenant, user_id")]
    assert found == sorted(users) == ["B", "a", "ä"]
    store.close()


def test_a_database_is_closed_when_its_store_is(database_url: str) -> None:
    database = Database(database_url, connections=2)
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()
    if not database.is_sqlite:
        with psycopg.connect(database_url, autocommit=True) as own:
            others = own.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone()
        assert others == (0,)
