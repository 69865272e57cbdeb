"""Tests retention, expiry, purges, erasures and fresh epochs, and what a device learns of them."""

import re

import pytest
from structlog.testing import capture_logs

from shared.settings.load import load_settings
from shared.store.inboxes import upkeep
from shared.store.store import TOMBSTONE_MS, Store
from shared.store.values import Change, Owner, Position, Repeated, Stored
from tests.integration.store.conftest import Clock
from tests.support.stores import check_inboxes, new, rows_of

ANN, BOB = Owner("ann"), Owner("bob")
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "CHUNK_ROWS", 3)


def by_user(chunks: list[list[Change]]) -> dict[str, list[tuple[int, int, list[str]]]]:
    found: dict[str, list[tuple[int, int, list[str]]]] = {}
    for chunk in chunks:
        for change in chunk:
            rows = [row.request_id for row in change.rows]
            found.setdefault(change.owner.user_id, []).append((change.prev, change.to, rows))
    return found


def test_what_is_expired_becomes_a_tombstone_with_one_offset_for_each_inbox(store: Store, clock: Clock) -> None:
    store.insert(
        [
            new("ann", "1", expires_ms=clock.now_ms + 10),
            new("bob", "1", expires_ms=clock.now_ms + 11),
            new("ann", "2", expires_ms=clock.now_ms + 12),
            new("ann", "3", expires_ms=clock.now_ms + 13),
            new("ann", "4"),
        ]
    )
    assert list(store.expire()) == []
    clock.now_ms += 12
    assert by_user(list(store.expire())) == {"ann": [(4, 5, ["1", "2"])], "bob": [(1, 2, ["1"])]}
    assert list(store.expire()) == []
    clock.now_ms += 1
    assert by_user(list(store.expire())) == {"ann": [(5, 6, ["3"])]}
    assert store.summary(ANN).unread == 1
    check_inboxes(store)


def test_expiry_goes_on_until_nothing_is_left(store: Store, clock: Clock) -> None:
    store.insert([new("ann", str(n), expires_ms=clock.now_ms) for n in range(8)])
    assert [len(change.rows) for chunk in store.expire() for change in chunk] == [3, 3, 2]
    check_inboxes(store)


def test_what_is_old_becomes_a_tombstone_wherever_it_lies(store: Store, clock: Clock) -> None:
    for day in range(10):
        clock.now_ms = (day + 1) * DAY_MS
        store.insert([new("ann", f"{day}"), new("bob", f"{day}")])
    ids = {(row[1], row[2]): row[0] for row in rows_of(store, "id, user_id, request_id")}
    # Everything of a whole chunk is deleted already.
    store.delete(ANN, [ids["ann", str(day)] for day in range(3)])
    store.delete(BOB, [ids["bob", str(day)] for day in range(3)])
    found = by_user(list(store.retain(days=4.5)))
    assert [request for _, _, rows in found["ann"] for request in rows] == ["3", "4"]
    assert [request for _, _, rows in found["bob"] for request in rows] == ["3", "4"]
    assert list(store.retain(days=4.5)) == []
    assert [row.request_id for row in store.page(ANN).items] == ["9", "8", "7", "6", "5"]
    check_inboxes(store)


def test_a_purged_tombstone_raises_the_floor_of_its_inbox(store: Store, clock: Clock) -> None:
    ids = [row.id for row in store.insert([new("ann", str(n)) for n in range(6)]).changes[0].rows]
    store.insert([new("bob", "1")])
    before = store.positions([ANN])[ANN]
    for id_ in ids[:4]:
        store.delete(ANN, [id_])
    fifth = store.delete(ANN, [ids[4]])
    assert fifth is not None
    assert store.purge() == 0
    clock.now_ms += TOMBSTONE_MS
    assert store.purge() == 0
    clock.now_ms += 1
    assert store.purge() == 5
    assert [row[0] for row in rows_of(store, "id, seq") if row[0] in ids] == [ids[5]]

    behind, at_floor, other = store.pull(
        [(ANN, before), (ANN, Position(before.epoch, fifth.to)), (BOB, Position("", 0))]
    )
    assert (behind.recovered, behind.went_back, [row.id for row in behind.rows]) == (False, False, [ids[5]])
    assert at_floor.recovered
    assert other.recovered
    (nothing_yet,) = store.pull([(ANN, Position("", 0))])
    assert (nothing_yet.recovered, [row.id for row in nothing_yet.rows]) == (True, [ids[5]])
    check_inboxes(store)


def test_a_floor_never_falls(store: Store, clock: Clock) -> None:
    ids = [row.id for row in store.insert([new("ann", str(n)) for n in range(3)]).changes[0].rows]
    late = Store(store.database._url, now_ms=lambda: clock.now_ms + DAY_MS)
    # The clock of the process that deletes first is ahead, so its tombstone is purged last.
    late.delete(ANN, [ids[0]])
    store.delete(ANN, [ids[1]])
    clock.now_ms += 10
    assert store.purge(older_than_ms=5) == 1
    (end,) = store.positions([ANN]).values()
    clock.now_ms += 2 * DAY_MS
    assert store.purge(older_than_ms=5) == 1
    assert [row[1] for row in rows_of(store, "user_id, floor", "inbox")] == [end.offset]
    late.close()


def test_a_repeat_finds_the_tombstone_as_long_as_it_is_kept(store: Store, clock: Clock) -> None:
    (stored,) = store.insert([new("ann", "1")]).results
    assert isinstance(stored, Stored)
    store.delete(ANN, [stored.id])
    clock.now_ms += TOMBSTONE_MS
    store.purge()
    assert store.insert([new("ann", "1")]).results == (Repeated(stored.id),)


def test_a_tombstone_outlives_the_record_of_its_delivery() -> None:
    """A repeat that neither the record nor the tombstone stops would bring back what its user has deleted."""
    assert load_settings(env_file=None).idempotency.done_ttl_s * 1000 < TOMBSTONE_MS == 7 * DAY_MS


def test_an_erased_user_leaves_nothing_and_devices_are_told(store: Store) -> None:
    store.insert([new("ann", "1"), new("bob", "1"), new("ann", "1", tenant="other")])
    end = store.positions([ANN])[ANN]
    change = store.erase(ANN)
    assert change is not None
    assert (change.epoch, change.to, change.bare) == ("", 0, True)
    assert store.erase(ANN) is None
    assert [row[:2] for row in rows_of(store, "user_id, tenant")] == [("ann", "other"), ("bob", "")]
    (found,) = store.pull([(ANN, end)])
    assert (found.recovered, found.rows, found.position) == (False, (), Position("", 0))
    store.insert([new("ann", "2")])
    (found,) = store.pull([(ANN, end)])
    assert (found.recovered, [row.request_id for row in found.rows]) == (False, ["2"])


def test_a_restored_database_gives_every_inbox_a_fresh_epoch(store: Store) -> None:
    store.insert([new(f"user {n}", "1") for n in range(20)])
    owners = [Owner(f"user {n}") for n in range(20)]
    before = store.positions(owners)
    assert store.restored() == 20
    after = store.positions(owners)
    assert all(before[owner].epoch != after[owner].epoch for owner in owners)
    assert len({position.epoch for position in after.values()}) == 20
    assert all(re.fullmatch("[0-9a-f]{8}", position.epoch) for position in after.values())
    (found,) = store.pull([(owners[0], before[owners[0]])])
    assert not found.recovered


def test_an_inbox_that_went_back_gets_a_fresh_epoch_once(store: Store) -> None:
    store.insert([new("ann", "1"), new("ann", "2")])
    end = store.positions([ANN])[ANN]
    seen = Position(end.epoch, 5)
    with capture_logs() as logs:
        change = store.rotate_epoch(ANN, seen)
    assert change is not None
    assert (change.bare, change.prev, change.to, change.unread) == (True, 2, 2, 2)
    assert change.epoch != end.epoch
    assert store.positions([ANN])[ANN] == Position(change.epoch, 2)
    assert [(line["event"], line["offset"], line["seen_offset"]) for line in logs] == [("store_went_back", 2, 5)]
    # Another node meets a device of the same user.
    assert store.rotate_epoch(ANN, seen) is None
    assert store.rotate_epoch(ANN, Position(change.epoch, 2)) is None
    assert store.rotate_epoch(BOB, seen) is None
    assert store.positions([ANN])[ANN].epoch == change.epoch
