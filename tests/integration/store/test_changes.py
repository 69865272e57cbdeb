"""Tests what users do to their inbox: one offset for what really changed, and counters that are always right."""

import pytest
import sqlalchemy

from shared.errors import DataRejected
from shared.store import store as store_module
from shared.store.store import Store
from shared.store.values import EMPTY, Change, Owner
from tests.integration.store.conftest import Clock
from tests.support.stores import check_inboxes, new, rows_of

ANN = Owner("ann")


@pytest.fixture
def ids(store: Store) -> list[int]:
    """Returns the ids of Ann's five unread notifications; another user has one too."""
    change, _ = store.insert([*(new("ann", str(n)) for n in range(5)), new("bob", "1")]).changes
    return [row.id for row in change.rows]


def told(change: Change | None) -> tuple[int, int, int, list[int]]:
    assert change is not None
    return change.prev, change.to, change.unread, [row.id for row in change.rows]


def test_reading_takes_one_offset_for_all_that_changed(store: Store, ids: list[int], clock: Clock) -> None:
    clock.now_ms += 5
    change = store.mark(ANN, [ids[3], ids[1]], read=True)
    assert told(change) == (5, 6, 3, [ids[1], ids[3]])
    assert change is not None
    assert {(row.read_ms, row.changed_seq, row.is_new) for row in change.rows} == {(clock.now_ms, 6, False)}
    assert [store.get(ANN, row.id) for row in change.rows] == list(change.rows)
    check_inboxes(store)


def test_what_is_read_already_changes_nothing(store: Store, ids: list[int], clock: Clock) -> None:
    store.mark(ANN, ids[:2], read=True)
    assert store.mark(ANN, ids[:2], read=True) is None
    clock.now_ms += 5
    assert told(store.mark(ANN, ids[:3], read=True)) == (6, 7, 2, [ids[2]])
    first = store.get(ANN, ids[0])
    assert first is not None
    assert first.read_ms == clock.now_ms - 5
    check_inboxes(store)


def test_unread_archive_and_unarchive_undo_what_they_should(store: Store, ids: list[int]) -> None:
    store.mark(ANN, ids[:2], read=True)
    assert told(store.mark(ANN, ids[:1], read=False)) == (6, 7, 4, ids[:1])
    # An archived row does not count as unread, whether it has been read or not.
    assert told(store.mark(ANN, ids[:2], archived=True)) == (7, 8, 3, ids[:2])
    assert told(store.mark(ANN, ids[:2], archived=False)) == (8, 9, 4, ids[:2])
    assert told(store.mark(ANN, ids[:2], read=True, archived=True)) == (9, 10, 3, ids[:2])
    assert told(store.mark(ANN, ids[:2], read=False)) == (10, 11, 3, ids[:2])
    check_inboxes(store)


def test_a_deleted_notification_leaves_a_tombstone_without_texts(store: Store, ids: list[int]) -> None:
    store.mark(ANN, [ids[0]], read=True)
    change = store.delete(ANN, ids[:2])
    assert told(change) == (6, 7, 3, ids[:2])
    assert store.get(ANN, ids[0]) is None
    assert store.delete(ANN, ids[:2]) is None
    assert store.mark(ANN, ids[:2], read=False) is None
    left = rows_of(store, "id, title, body, extra, deleted_ms")[:2]
    assert left == [(id_, "", "", "{}", 1_000_000) for id_ in ids[:2]]
    assert change is not None
    assert [(row.title, row.body, row.deleted_ms) for row in change.rows] == [("", "", 1_000_000)] * 2
    assert store.summary(ANN).total == 3
    check_inboxes(store)


def test_read_all_reads_up_to_an_id_what_counts_as_unread(store: Store, ids: list[int]) -> None:
    store.mark(ANN, [ids[0]], archived=True)
    store.delete(ANN, [ids[1]])
    change = store.read_all(ANN, ids[3])
    assert change is not None
    assert (change.prev, change.to, change.unread, change.rows, change.read_upto) == (7, 8, 1, (), ids[3])
    assert not change.bare
    marked = {row[0]: row[1] for row in rows_of(store, "id, read_ms")}
    assert [marked[id_] is not None for id_ in ids] == [False, False, True, True, False]
    assert store.read_all(ANN, ids[3]) is None
    check_inboxes(store)


def test_nobody_changes_the_notifications_of_others(store: Store, ids: list[int]) -> None:
    before = rows_of(store)
    bob, tenant = Owner("bob"), Owner("ann", "other")
    for owner in (bob, tenant, Owner("nobody")):
        assert store.mark(owner, ids, read=True) is None
        assert store.delete(owner, ids) is None
        assert store.get(owner, ids[0]) is None
    assert store.read_all(Owner("nobody"), ids[-1]) is None
    assert store.read_all(tenant, ids[-1]) is None
    assert store.read_all(bob, ids[-1]) is None
    assert rows_of(store) == before


def test_delivered_and_seen_only_rise_and_never_beyond_the_end(store: Store, ids: list[int]) -> None:
    store.raise_delivered({ANN: 3, Owner("bob"): 1, Owner("nobody"): 1})
    store.raise_delivered({ANN: 2})
    store.raise_delivered({ANN: 6})
    store.raise_seen({ANN: 2})
    summary = store.summary(ANN)
    assert (summary.delivered, summary.seen, summary.position.offset) == (3, 2, 5)
    assert store.summary(Owner("bob")).delivered == 1


def test_what_many_users_have_seen_takes_several_short_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MARKED_AT_ONCE", 3)
    owners = [Owner(f"user {n}") for n in range(7)]
    store.insert([new(owner.user_id, "1") for owner in owners])
    begun: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        begun.extend([statement] if statement.startswith("BEGIN") else [])

    sqlalchemy.event.listen(store.database._engine, "before_cursor_execute", note)
    store.raise_seen(dict.fromkeys(owners, 1))
    assert len(begun) == 3
    assert {store.summary(owner).seen for owner in owners} == {1}


@pytest.mark.parametrize("number", [0, -1, 2**53, 2**63, 2**70, -(2**70)])
def test_an_impossible_id_is_one_that_nobody_has(store: Store, ids: list[int], number: int) -> None:
    before = rows_of(store)
    assert store.mark(ANN, [number], read=True) is None
    assert store.delete(ANN, [number]) is None
    assert store.get(ANN, number) is None
    assert rows_of(store) == before
    assert len(store.page(ANN, cursor=number).items) == (5 if number > 0 else 0)
    assert told(store.mark(ANN, [number, ids[0]], read=True)) == (5, 6, 4, [ids[0]])
    assert (store.read_all(ANN, number) is None) == (number <= 0)


@pytest.mark.parametrize("user_id", ["a\0b", "\ud800"], ids=["U+0000", "no UTF-8"])
def test_a_user_id_that_no_database_holds_is_refused_or_unknown(store: Store, user_id: str) -> None:
    owner = Owner(user_id)
    for act in (
        lambda: store.mark(owner, [1], read=True),
        lambda: store.read_all(owner, 1),
        lambda: store.erase(owner),
        lambda: store.summary(owner),
        lambda: store.page(owner).items,
        lambda: store.pull([(owner, None)])[0].rows,
        lambda: store.positions([owner]),
    ):
        try:
            found = act()
        except DataRejected as exc:
            assert user_id not in str(exc)
        else:
            # SQLite can look for U+0000; nothing that is stored has it.
            assert store.database.is_sqlite
            assert not found or found == EMPTY
