"""Runs everything that can happen to inboxes in any order, against a plain model and devices that keep the rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from shared.store.store import Store
from shared.store.values import Change, Filter, Notification, Owner, Position, Rejected, Status, Stored
from tests.models.inbox import Inbox, Row
from tests.support.run.examples import examples
from tests.support.stores import Databases, new, rows_of

USERS = [Owner("ann"), Owner("bob"), Owner("ann", "other")]
DEVICES = 4
#: A pull of more rows than this starts anew.
LIMIT = 6

users = st.sampled_from(USERS)
numbers = st.integers(0, 11)
some = st.sets(numbers, max_size=4).map(sorted)
flags = st.sampled_from((None, True, False))


def row_of(notification: Notification) -> Row:
    return Row(
        notification.request_id,
        notification.read_ms is not None,
        notification.archived_ms is not None,
        notification.deleted_ms is not None,
    )


@dataclass
class Device:
    """Keeps the rules of devices: a row is kept by its id, and a pull that is not recovered empties the list first."""

    owner: Owner
    position: Position | None = None
    rows: dict[int, Notification] = field(default_factory=dict)
    #: Whether it holds everything, and not only the newest unread rows of a first load.
    whole: bool = False

    def live(self) -> dict[str, Row]:
        return {row.request_id: row_of(row) for row in self.rows.values() if row.deleted_ms is None}


class Inboxes(RuleBasedStateMachine):
    """Drives one database, which is emptied after each run."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.store = Store(self.url, now_ms=lambda: self.now_ms)
        self.inboxes: dict[Owner, Inbox] = {}
        self.epochs: dict[Owner, str] = {}
        self.ids: dict[tuple[Owner, str], int] = {}
        self.devices: list[Device] = []

    def teardown(self) -> None:
        with self.store.database.maintaining() as connection:
            for table in ("notifications", "inbox"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        self.store.close()

    @initialize(owners=st.lists(users, min_size=DEVICES, max_size=DEVICES))
    def connect(self, owners: list[Owner]) -> None:
        self.devices = [Device(owner) for owner in owners]

    def inbox(self, owner: Owner) -> Inbox:
        return self.inboxes.get(owner, Inbox())

    def chosen(self, owner: Owner, picks: list[int]) -> tuple[list[str], list[int]]:
        requests = [f"r{pick}" for pick in picks]
        return requests, [self.ids[owner, request] for request in requests if (owner, request) in self.ids]

    def told(self, owner: Owner, change: Change | None, changed: list[str], before: int) -> None:
        """Checks what a wake-up would tell."""
        if not changed:
            assert change is None
            return
        inbox = self.inboxes[owner]
        assert change is not None
        assert (change.owner, change.epoch) == (owner, self.epochs[owner])
        assert (change.prev, change.to, change.unread) == (before, inbox.seq, len(inbox.unread))
        if change.read_upto is None:
            assert [row_of(row) for row in change.rows] == [inbox.rows[request] for request in changed]

    # -- what happens ---------------------------------------------------------------------------------------------

    @rule(batch=st.lists(st.tuples(users, numbers), min_size=1, max_size=8))
    def insert(self, batch: list[tuple[Owner, int]]) -> None:
        before = {owner: self.inbox(owner).seq for owner, _ in batch}
        inserted = self.store.insert([new(owner.user_id, f"r{n}", tenant=owner.tenant) for owner, n in batch])
        fresh: dict[Owner, list[str]] = {owner: [] for owner, _ in batch}
        for (owner, number), result in zip(batch, inserted.results, strict=True):
            request = f"r{number}"
            is_new = self.inboxes.setdefault(owner, Inbox()).add(request)
            assert isinstance(result, Stored) == is_new
            if isinstance(result, Stored):
                self.ids[owner, request] = result.id
                fresh[owner].append(request)
                assert result.offset == self.inboxes[owner].seq
            assert not isinstance(result, Rejected)
            assert result.id == self.ids[owner, request]
        assert sorted(change.owner for change in inserted.changes) == sorted(fresh)
        for change in inserted.changes:
            self.epochs.setdefault(change.owner, change.epoch)
            inbox = self.inboxes[change.owner]
            assert change.epoch == self.epochs[change.owner]
            assert (change.prev, change.to, change.unread) == (before[change.owner], inbox.seq, len(inbox.unread))
            assert [row.request_id for row in change.rows] == fresh[change.owner]

    @rule(owner=users, picks=some, read=flags, archived=flags)
    def mark(self, owner: Owner, picks: list[int], read: bool | None, archived: bool | None) -> None:
        requests, ids = self.chosen(owner, picks)
        before = self.inbox(owner).seq
        change = self.store.mark(owner, ids, read=read, archived=archived)
        self.told(owner, change, self.inbox(owner).change(requests, read=read, archived=archived), before)

    @rule(owner=users, picks=some)
    def delete(self, owner: Owner, picks: list[int]) -> None:
        requests, ids = self.chosen(owner, picks)
        before = self.inbox(owner).seq
        self.told(owner, self.store.delete(owner, ids), self.inbox(owner).change(requests, deleted=True), before)

    @rule(owner=users, pick=numbers)
    def read_all(self, owner: Owner, pick: int) -> None:
        request = f"r{pick}"
        if (owner, request) not in self.ids or request not in self.inbox(owner).rows:
            return
        before = self.inbox(owner).seq
        change = self.store.read_all(owner, self.ids[owner, request])
        self.told(owner, change, self.inboxes[owner].read_upto(request), before)

    @rule()
    def purge(self) -> None:
        purged = self.store.purge(older_than_ms=-1)
        assert purged == sum(inbox.purge() for inbox in self.inboxes.values())

    @rule(owner=users)
    def erase(self, owner: Owner) -> None:
        assert (self.store.erase(owner) is None) == (owner not in self.inboxes)
        self.inboxes.pop(owner, None)
        self.epochs.pop(owner, None)
        self.ids = {key: id_ for key, id_ in self.ids.items() if key[0] != owner}

    @rule()
    def restore(self) -> None:
        assert self.store.restored() == len(self.inboxes)
        self.epochs = {owner: position.epoch for owner, position in self.store.positions(USERS).items()}

    @rule(number=st.integers(0, DEVICES - 1))
    def pull(self, number: int) -> None:
        device = self.devices[number]
        inbox, epoch = self.inbox(device.owner), self.epochs.get(device.owner, "")
        since = device.position
        (found,) = self.store.pull([(device.owner, since)], LIMIT)
        assert (found.position, found.unread) == (Position(epoch, inbox.seq), len(inbox.unread))
        can = since is not None and (since.offset == 0 or (since.epoch == epoch and inbox.continues(since.offset)))
        changed = inbox.since(since.offset) if can and since is not None else []
        assert found.recovered == (can and len(changed) <= LIMIT)
        if found.recovered:
            assert [row.request_id for row in found.rows] == changed
            device.whole = device.whole or (since is not None and since.offset == 0)
        else:
            assert [row.request_id for row in found.rows] == inbox.unread[-LIMIT:]
            assert found.more == (len(inbox.unread) > LIMIT)
            device.rows, device.whole = {}, inbox.unread == inbox.live and not found.more
        device.rows |= {row.id: row for row in found.rows}
        device.position = found.position
        self.shows_the_inbox(device)

    @rule(number=st.integers(0, DEVICES - 1))
    def forget(self, number: int) -> None:
        device = self.devices[number]
        device.position, device.rows, device.whole = Position("", 0), {}, False

    def shows_the_inbox(self, device: Device) -> None:
        """No hole: what the device shows is the inbox, for all that it has loaded."""
        inbox = self.inbox(device.owner)
        shown = device.live()
        assert shown.items() <= {request: inbox.rows[request] for request in inbox.live}.items()
        if device.whole:
            assert shown.keys() == set(inbox.live)

    @rule(owner=users, status=st.sampled_from(["all", "unread"]), limit=st.integers(1, 20))
    def read_list(self, owner: Owner, status: Status, limit: int) -> None:
        inbox = self.inbox(owner)
        page = self.store.page(owner, Filter(status), limit=limit)
        expected = list(reversed(inbox.live if status == "all" else inbox.unread))
        assert [row_of(row) for row in page.items] == [inbox.rows[request] for request in expected[:limit]]
        assert (page.next is not None, page.unread) == (len(expected) > limit, len(inbox.unread))
        summary = self.store.summary(owner)
        assert (summary.position.offset, summary.total) == (inbox.seq, len(inbox.live))

    # -- what is always true --------------------------------------------------------------------------------------

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        columns = "tenant, user_id, epoch, seq, floor, unread, total"
        inboxes = {Owner(row[1], row[0]): row[2:] for row in rows_of(self.store, columns, "inbox")}
        assert inboxes == {
            owner: (self.epochs[owner], inbox.seq, inbox.floor, len(inbox.unread), len(inbox.live))
            for owner, inbox in self.inboxes.items()
        }
        rows = rows_of(self.store, "id, tenant, user_id, request_id, changed_seq")
        assert {(Owner(user_id, tenant), request): changed for _, tenant, user_id, request, changed in rows} == {
            (owner, request): inbox.changed[request] for owner, inbox in self.inboxes.items() for request in inbox.rows
        }


@pytest.mark.parametrize(("backend", "count"), [("sqlite", 25), ("postgresql", 8)])
def test_inboxes_and_devices_in_any_order(backend: str, count: int, databases: Databases) -> None:
    with databases.empty(backend) as url:
        machine = type("Machine", (Inboxes,), {"url": url})

        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples(count),
                stateful_step_count=25,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
