"""Tests that batches are stored once, whatever comes twice, and that one bad notification keeps out nobody."""

import pytest

from shared.store.store import Store
from shared.store.values import Change, Notification, Owner, Rejected, Repeated, Stored
from tests.support.stores import check_inboxes, new, rows_of


def request_ids(change: Change) -> list[str]:
    return [row.request_id for row in change.rows]


def test_each_notification_takes_the_next_offset_of_its_user(store: Store) -> None:
    inserted = store.insert([new("ann", "1"), new("bob", "1"), new("ann", "2")])
    assert [result.offset for result in inserted.results if isinstance(result, Stored)] == [1, 1, 2]
    ann, bob = inserted.changes
    assert (ann.owner, ann.prev, ann.to, ann.unread, request_ids(ann)) == (Owner("ann"), 0, 2, 2, ["1", "2"])
    assert (bob.owner, bob.prev, bob.to, bob.unread, request_ids(bob)) == (Owner("bob"), 0, 1, 1, ["1"])
    assert len(ann.epoch) == 8
    assert ann.epoch != bob.epoch
    assert store.insert([new("ann", "3")]).changes[0].epoch == ann.epoch


def test_a_change_tells_of_its_rows_what_the_database_holds(store: Store) -> None:
    given = new("ann", "1", type="error", priority="high", category="ci", extra='{"link":"x"}', expires_ms=5_000_000)
    row = store.insert([given]).changes[0].rows[0]
    assert row == store.get(Owner("ann"), row.id)
    assert row == Notification(
        row.id, "", "ann", "shop", "1", 1, 1, "error", "high", "ci", "title of 1", "body of 1", '{"link":"x"}',
        1_000, 1_000_000, None, None, None, 5_000_000,
    )  # fmt: skip
    assert row.is_new


def test_ids_rise_in_the_order_of_the_batch(store: Store) -> None:
    inserted = store.insert([new(f"user {n % 3}", str(n)) for n in range(30)])
    ids = [result.id for result in inserted.results if isinstance(result, Stored)]
    assert len(ids) == 30
    assert ids == sorted(ids)


def test_a_repeat_is_found_and_wakes_its_user_again(store: Store) -> None:
    first = store.insert([new("ann", "1"), new("bob", "1")])
    again = store.insert([new("ann", "1")])
    (stored, _), (repeated,) = first.results, again.results
    assert isinstance(stored, Stored)
    assert repeated == Repeated(stored.id)
    (change,) = again.changes
    assert (change.bare, change.prev, change.to, change.epoch) == (True, 1, 1, first.changes[0].epoch)


def test_new_and_repeated_ones_of_a_batch_are_told_apart(store: Store) -> None:
    store.insert([new("ann", "1"), new("bob", "1")])
    inserted = store.insert([new("ann", "2"), new("bob", "1"), new("ann", "1"), new("ann", "3"), new("cid", "1")])
    kinds = [type(result) for result in inserted.results]
    assert kinds == [Stored, Repeated, Repeated, Stored, Stored]
    changes = {change.owner.user_id: (change.prev, change.to, request_ids(change)) for change in inserted.changes}
    assert changes == {"ann": (1, 3, ["2", "3"]), "bob": (1, 1, []), "cid": (0, 1, ["1"])}
    check_inboxes(store)


def test_a_notification_that_is_twice_in_a_batch_is_stored_once(store: Store) -> None:
    inserted = store.insert([new("ann", "1", body="first"), new("ann", "2"), new("ann", "1", body="second")])
    first, _, third = inserted.results
    assert isinstance(first, Stored)
    assert third == Repeated(first.id)
    assert [row.body for row in inserted.changes[0].rows] == ["first", "body of 2"]
    check_inboxes(store)


def test_the_same_request_of_two_clients_or_tenants_or_users_is_not_a_repeat(store: Store) -> None:
    batch = [
        new("ann", "1"),
        new("ann", "1", client="bank"),
        new("ann", "1", client=""),
        new("ann", "1", tenant="other"),
        new("bob", "1"),
    ]
    assert [type(result) for result in store.insert(batch).results] == [Stored] * 5
    assert [type(result) for result in store.insert(batch).results] == [Repeated] * 5
    assert store.summary(Owner("ann")).unread == 3
    assert store.summary(Owner("ann", "other")).unread == 1


def test_a_repeat_of_what_was_deleted_brings_nothing_back(store: Store) -> None:
    (stored,) = store.insert([new("ann", "1")]).results
    assert isinstance(stored, Stored)
    store.delete(Owner("ann"), [stored.id])
    assert store.insert([new("ann", "1")]).results == (Repeated(stored.id),)
    assert store.page(Owner("ann")).items == ()


def test_an_id_is_never_given_twice(store: Store) -> None:
    (first,) = store.insert([new("ann", "1")]).results
    store.erase(Owner("ann"))
    (second,) = store.insert([new("ann", "1")]).results
    assert isinstance(first, Stored)
    assert isinstance(second, Stored)
    assert second.id > first.id


@pytest.mark.parametrize(
    "bad",
    [{"title": "\ud800"}, {"created_ms": 2**63}, {"title": None}],
    ids=["no UTF-8", "too large a number", "nothing where something must be"],
)
def test_one_bad_notification_keeps_out_no_other(store: Store, bad: dict[str, object]) -> None:
    batch = [new(f"user {n % 7}", str(n), **(bad if n == 41 else {})) for n in range(64)]
    inserted = store.insert(batch)
    kinds = [type(result) for result in inserted.results]
    assert kinds == [Rejected if n == 41 else Stored for n in range(64)]
    assert sum(len(change.rows) for change in inserted.changes) == 63
    rejected = inserted.results[41]
    assert isinstance(rejected, Rejected)
    assert "body" not in rejected.detail
    check_inboxes(store)


def test_a_null_character_becomes_a_replacement_character_in_every_text(store: Store) -> None:
    texts = ("user_id", "request_id", "client", "type", "priority", "category", "title", "body", "extra")
    (change,) = store.insert([new(**dict.fromkeys(texts, "a\x00b"))]).changes
    assert {getattr(change.rows[0], name) for name in texts} == {"a\ufffdb"}
    assert store.get(Owner("a\ufffdb"), change.rows[0].id) == change.rows[0]
    assert [type(result) for result in store.insert([new(**dict.fromkeys(texts, "a\x00b"))]).results] == [Repeated]


@pytest.mark.parametrize(
    "text", ['"', "\\", '\\"', "{}", ",", "NULL", "%s %(x)s", "?", ":x", "'", "\n\t", "\x1f", "", "𝄞 ä"], ids=repr
)
def test_texts_come_back_as_they_went_in(store: Store, text: str) -> None:
    batch = [new(f"u{text}", f"{n}{text}", title=text, body=text, extra=text, category=text) for n in range(2)]
    batch.append(new(f"u{text}", "without a category"))
    rows = store.insert(batch).changes[0].rows
    assert [(row.title, row.body, row.extra, row.category) for row in rows[:2]] == [(text,) * 4] * 2
    assert [store.get(Owner(f"u{text}"), row.id) for row in rows] == list(rows)
    assert rows[2].category is None
    assert [type(result) for result in store.insert(batch).results] == [Repeated] * 3


def test_an_empty_batch_does_nothing(store: Store) -> None:
    assert (store.insert([]).results, store.insert([]).changes) == ((), ())
    assert rows_of(store, table="inbox") == []
