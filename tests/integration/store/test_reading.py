"""Tests that a device that keeps the rules shows exactly the inbox, and that lists and counts agree with it."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy

from shared.store.store import Store
from shared.store.tables import notifications
from shared.store.values import EMPTY, PULL_TEXT_BYTES, Filter, Notification, Owner, Position, Pull
from tests.support.stores import new

ANN = Owner("ann")


def pull(store: Store, since: Position | None, limit: int = 1000) -> Pull:
    (found,) = store.pull([(ANN, since)], limit)
    return found


def requests(rows: tuple[Notification, ...]) -> list[str]:
    return [row.request_id for row in rows]


def fill(store: Store, count: int, user: str = "ann") -> list[int]:
    (change,) = store.insert([new(user, str(n)) for n in range(count)]).changes
    return [row.id for row in change.rows]


# -- pulls ----------------------------------------------------------------------------------------------------------


def test_a_device_that_has_nothing_gets_the_unread_rows_oldest_first(store: Store) -> None:
    ids = fill(store, 5)
    store.mark(ANN, [ids[1]], read=True)
    store.mark(ANN, [ids[2]], archived=True)
    store.delete(ANN, [ids[3]])
    found = pull(store, None)
    assert (found.recovered, found.more, found.unread, found.position.offset) == (False, False, 2, 8)
    assert requests(found.rows) == ["0", "4"]


def test_of_too_many_unread_rows_the_newest_come(store: Store) -> None:
    fill(store, 5)
    found = pull(store, None, limit=3)
    assert (requests(found.rows), found.more, found.unread) == (["2", "3", "4"], True, 5)


def test_a_device_gets_every_row_that_changed_since_as_it_is_now(store: Store) -> None:
    ids = fill(store, 4)
    start = pull(store, None).position
    store.mark(ANN, [ids[2]], read=True)
    store.delete(ANN, [ids[0]])
    store.insert([new("ann", "later")])
    store.mark(ANN, [ids[2]], archived=True)
    found = pull(store, start)
    assert found.recovered
    assert requests(found.rows) == ["0", "later", "2"]
    deleted, later, marked = found.rows
    assert deleted.deleted_ms is not None
    assert (later.is_new, marked.read_ms, marked.archived_ms) == (True, 1_000_000, 1_000_000)
    assert pull(store, found.position) == Pull(ANN, found.position, found.unread, recovered=True)


def test_everything_that_was_read_at_once_comes_however_much_it_is(store: Store) -> None:
    ids = fill(store, 30)
    start = pull(store, None).position
    store.read_all(ANN, ids[-1])
    found = pull(store, start, limit=30)
    assert (found.recovered, len(found.rows), {row.changed_seq for row in found.rows}) == (True, 30, {31})
    found = pull(store, start, limit=29)
    assert (found.recovered, found.rows, found.position.offset) == (False, (), 31)


def test_a_thousand_changed_rows_are_recovered_and_one_more_is_a_first_load(store: Store) -> None:
    for first in range(0, 1000, 250):
        store.insert([new("ann", str(first + n)) for n in range(250)])
    (found,) = store.pull([(ANN, Position("", 0))])
    assert (found.recovered, len(found.rows), found.more) == (True, 1000, False)
    store.insert([new("ann", "1000")])
    (found,) = store.pull([(ANN, Position("", 0))])
    assert (found.recovered, len(found.rows), found.more) == (False, 1000, True)
    assert (found.rows[0].request_id, found.rows[-1].request_id) == ("1", "1000")


def test_offset_0_is_continued_in_any_epoch(store: Store) -> None:
    fill(store, 2)
    for epoch in ("", "00000000"):
        found = pull(store, Position(epoch, 0))
        assert (found.recovered, requests(found.rows)) == (True, ["0", "1"])


def test_a_position_that_cannot_be_continued_is_told(store: Store) -> None:
    fill(store, 3)
    epoch = pull(store, None).position.epoch
    other = pull(store, Position("00000000", 2))
    assert (other.recovered, other.went_back, requests(other.rows)) == (False, False, ["0", "1", "2"])
    ahead = pull(store, Position(epoch, 4))
    assert (ahead.recovered, ahead.went_back, requests(ahead.rows)) == (False, True, ["0", "1", "2"])


def test_a_user_without_an_inbox_has_an_empty_one(store: Store) -> None:
    assert pull(store, None) == Pull(ANN, Position("", 0), 0, recovered=False)
    assert pull(store, Position("", 0)) == Pull(ANN, Position("", 0), 0, recovered=True)
    assert pull(store, Position("00000000", 7)) == Pull(ANN, Position("", 0), 0, recovered=False)
    assert store.positions([ANN]) == {}
    assert store.summary(ANN) == EMPTY
    assert store.page(ANN).items == ()


def test_many_devices_are_answered_in_the_order_in_which_they_ask(store: Store) -> None:
    fill(store, 2, "ann")
    fill(store, 1, "bob")
    bob = Owner("bob")
    ends = store.positions([ANN, bob, Owner("nobody")])
    assert {owner: position.offset for owner, position in ends.items()} == {ANN: 2, bob: 1}
    found = store.pull([(bob, None), (ANN, ends[ANN]), (Owner("nobody"), None), (ANN, None), (bob, Position("", 0))])
    assert [(each.owner.user_id, each.recovered, len(each.rows)) for each in found] == [
        ("bob", False, 1),
        ("ann", True, 0),
        ("nobody", False, 0),
        ("ann", False, 2),
        ("bob", True, 1),
    ]


@pytest.mark.parametrize("letter", ["x", "ä", "𝄞"])
def test_long_texts_are_cut_in_a_pull_and_whole_in_a_get(store: Store, letter: str) -> None:
    fits = letter * (PULL_TEXT_BYTES // len(letter.encode()))
    batch = [
        new("ann", "fits", body=fits),
        new("ann", "long", body=fits + letter),
        new("ann", "extra", extra=f'{{"data":"{fits}"}}'),
    ]
    written = store.insert(batch).changes[0].rows
    for since in (None, Position("", 0)):
        short, long, extra = pull(store, since).rows
        assert short == written[0]
        assert (long.body, long.partial) == (fits, True)
        assert (extra.extra, extra.body, extra.partial) == ("{}", "body of extra", True)
    assert [store.get(ANN, row.id) for row in written] == list(written)
    assert store.page(ANN).items == written[::-1]


Injection = Callable[[Callable[[], object]], list[object]]


@pytest.fixture
def before_the_rows(store: Store) -> Injection:
    """Returns what runs a function just before the next statement that reads rows; the list says whether it ran."""

    def inject(act: Callable[[], object]) -> list[object]:
        acted: list[object] = []

        def before(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "FROM notifications" in statement and not acted:
                acted.append(None)
                acted[0] = act()

        sqlalchemy.event.listen(store.database._engine, "before_cursor_execute", before)
        return acted

    return inject


def test_what_is_committed_between_the_position_and_the_rows_belongs_to_neither(
    store: Store, database_url: str, before_the_rows: Injection
) -> None:
    ids = fill(store, 2)
    start = pull(store, None).position
    store.mark(ANN, ids[:1], read=True)
    other = Store(database_url)

    def commit() -> None:
        other.insert([new("ann", "between")])
        other.mark(ANN, ids[1:], read=True)

    acted = before_the_rows(commit)
    found = pull(store, start)
    assert acted == [None]
    assert (found.position.offset, found.unread, requests(found.rows)) == (3, 1, ["0"])
    assert requests(pull(store, found.position).rows) == ["between", "1"]
    other.close()


def test_a_first_load_is_one_snapshot_too(store: Store, database_url: str, before_the_rows: Injection) -> None:
    ids = fill(store, 2)
    other = Store(database_url)
    before_the_rows(lambda: (other.delete(ANN, ids), other.insert([new("ann", "between")])))
    found = pull(store, None)
    assert (found.position.offset, found.unread, requests(found.rows)) == (2, 2, ["0", "1"])
    assert requests(pull(store, found.position).rows) == ["0", "1", "between"]
    other.close()


# -- tenants ---------------------------------------------------------------------------------------------------------


def test_a_user_of_the_same_name_in_another_tenant_is_somebody_else(store: Store) -> None:
    other = Owner("ann", "other")
    ids = fill(store, 3)
    (change,) = store.insert([new("ann", "theirs", tenant="other")]).changes
    (theirs,) = change.rows
    ends = store.positions([ANN, other])
    assert (ends[ANN].offset, ends[other].offset) == (3, 1)
    assert [store.positions([owner]) for owner in (ANN, other)] == [{owner: ends[owner]} for owner in (ANN, other)]
    since = [Position("", 0), None]
    pulled = store.pull([(owner, position) for owner in (ANN, other) for position in since])
    assert [requests(found.rows) for found in pulled] == [["0", "1", "2"]] * 2 + [["theirs"]] * 2
    assert [found.unread for found in pulled] == [3, 3, 1, 1]
    assert (requests(store.page(ANN).items), requests(store.page(other).items)) == (["2", "1", "0"], ["theirs"])
    assert (store.page(ANN).unread, store.page(other).unread) == (3, 1)
    assert (store.get(other, ids[0]), store.get(ANN, theirs.id)) == (None, None)

    assert store.mark(other, ids, read=True) is None
    assert store.delete(other, ids) is None
    assert store.read_all(other, theirs.id) is not None
    store.raise_seen({other: 1})
    assert [(store.summary(owner).unread, store.summary(owner).seen) for owner in (ANN, other)] == [(3, 0), (0, 1)]
    assert store.erase(other) is not None
    assert requests(store.page(ANN).items) == ["2", "1", "0"]
    assert store.positions([ANN, other]) == {ANN: ends[ANN]}


# -- lists ----------------------------------------------------------------------------------------------------------


def test_a_list_is_newest_first_and_goes_on_at_its_cursor(store: Store) -> None:
    fill(store, 5)
    fill(store, 3, "bob")
    first = store.page(ANN, limit=2)
    assert (requests(first.items), first.unread) == (["4", "3"], 5)
    # What happens meanwhile moves nothing from one part to another.
    store.insert([new("ann", "meanwhile")])
    store.delete(ANN, [first.items[0].id])
    second = store.page(ANN, cursor=first.next, limit=2)
    third = store.page(ANN, cursor=second.next, limit=2)
    assert (requests(second.items), requests(third.items), third.next) == (["2", "1"], ["0"], None)
    assert store.page(ANN, cursor=second.next, limit=1).next is None
    assert requests(store.page(ANN, limit=2, skip=1).items) == ["3", "2"]


def test_a_list_has_only_what_matches(store: Store) -> None:
    batch = [
        new("ann", "read", type="info", priority="low", category="a"),
        new("ann", "archived", type="error", priority="low", category="b"),
        new("ann", "deleted", type="error", priority="high"),
        new("ann", "unread", type="error", priority="high", category="a"),
        new("ann", "plain"),
    ]
    ids = {row.request_id: row.id for row in store.insert(batch).changes[0].rows}
    store.mark(ANN, [ids["read"]], read=True)
    store.mark(ANN, [ids["archived"]], archived=True)
    store.delete(ANN, [ids["deleted"]])
    expected = {
        Filter(): ["plain", "unread", "archived", "read"],
        Filter("unread"): ["plain", "unread"],
        Filter("read"): ["read"],
        Filter("archived"): ["archived"],
        Filter("all", type="error"): ["unread", "archived"],
        Filter("all", priority="low"): ["archived", "read"],
        Filter("all", category="a"): ["unread", "read"],
        Filter("unread", type="error", priority="high", category="a"): ["unread"],
        Filter("unread", type="success"): [],
    }
    assert {wanted: requests(store.page(ANN, wanted).items) for wanted in expected} == expected
    assert store.page(ANN, Filter("archived")).unread == 2
    summary = store.summary(ANN)
    assert (summary.unread, summary.total) == (2, 4)


def test_a_list_of_one_user_does_not_walk_through_the_rows_of_all(store: Store) -> None:
    # Ann's are the oldest: whoever looks for hers from the newest one on walks through all others.
    fill(store, 250)
    store.mark(ANN, [row.id for row in store.page(ANN, limit=200).items], read=True)
    for chunk in range(12):
        store.insert([new(f"other {n % 20}", f"{chunk} {n}") for n in range(250)])
    explain = "EXPLAIN QUERY PLAN " if store.database.is_sqlite else "EXPLAIN "
    with store.database.maintaining() as connection:
        connection.exec_driver_sql("ANALYZE")
    plans = []

    def note(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM notifications" in statement and "EXPLAIN" not in statement:
            plans.append(str(connection.exec_driver_sql(explain + statement, parameters).all()))

    sqlalchemy.event.listen(store.database._engine, "before_cursor_execute", note)
    for status in ("all", "read", "archived", "unread"):
        store.page(ANN, Filter(status))
    store.pull([(ANN, Position("", 0)), (ANN, None)])
    assert len(plans) == 6
    for plan in plans:
        assert "notifications_" in plan, plan
        assert "SCAN notifications" not in plan
        assert "notifications_pkey" not in plan


def test_the_columns_of_a_row_are_those_of_the_table() -> None:
    assert [column.name for column in notifications.columns] == list(Notification._fields[:-1])
