"""Describes one inbox as a node sees it: a line of changes, of which some may be forgotten, lost or put back.

It stands in for the store in tests of the hub. It answers pulls as the store does, and it also remembers what the inbox
looked like at every offset, so that a test can tell whether a device shows exactly that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.store.values import Change, Notification, Owner, Position, Pull
from tests.support.inbox_rows import row

#: A pull of more rows than this starts anew.
LIMIT = 6
READ_MS = 1_795_161_700_000

#: What is shown of each notification: its id, and whether it is read.
Shown = dict[int, bool]


class Backup(NamedTuple):
    seq: int
    floor: int
    rows: dict[int, Notification]


@dataclass
class InboxLine:
    """Holds the rows of one user, and how they looked at each position."""

    owner: Owner
    epoch: str = ""
    seq: int = 0
    floor: int = 0
    rows: dict[int, Notification] = field(default_factory=dict)
    looked: dict[Position, Shown] = field(default_factory=lambda: {Position("", 0): {}})
    #: the number of unread rows at the end of the transaction to which each position belongs
    counted: dict[Position, int] = field(default_factory=lambda: {Position("", 0): 0})
    #: the inbox after each transaction of the present epoch
    backups: list[Backup] = field(default_factory=list)
    _epochs: int = 0
    _ids: int = 0

    @property
    def end(self) -> Position:
        return Position(self.epoch, self.seq)

    @property
    def shown(self) -> Shown:
        return {id_: one.read_ms is not None for id_, one in self.rows.items() if one.deleted_ms is None}

    @property
    def unread(self) -> int:
        return sum(one.counts_as_unread for one in self.rows.values())

    # -- Transactions; each returns what it changed, None if that is nothing -----------------------------------------

    def add(self, count: int = 1) -> Change:
        """Adds rows, each with an offset of its own."""
        if not self.epoch:
            self._begin_epoch()
        prev, added = self.seq, []
        for _ in range(count):
            self._ids += 1
            added.append(self._put(row(self._ids, self.seq + 1, user_id=self.owner.user_id)))
        return self._committed(prev, added)

    def read(self, id_: int) -> Change | None:
        return self._set(id_, read_ms=READ_MS)

    def delete(self, id_: int) -> Change | None:
        return self._set(id_, deleted_ms=READ_MS)

    def read_all(self) -> Change | None:
        """Reads everything: many rows get one offset, and the change does not list them."""
        unread = [one for one in self.rows.values() if one.counts_as_unread]
        if not unread:
            return None
        prev = self.seq
        for one in unread:
            self._put(one._replace(read_ms=READ_MS, changed_seq=prev + 1))
        return self._committed(prev, [])._replace(read_upto=self._ids)

    def repeat(self) -> Change | None:
        """Finds a row that is stored already: nothing changes, and the change is bare."""
        return self._change(self.seq, [])

    def purge(self) -> None:
        """Forgets the tombstones."""
        for id_, one in list(self.rows.items()):
            if one.deleted_ms is not None:
                self.floor = max(self.floor, one.changed_seq)
                del self.rows[id_]

    def erase(self) -> Change | None:
        """Forgets everything."""
        self.epoch, self.seq, self.floor, self.rows, self.backups = "", 0, 0, {}, []
        return self._change(0, [])

    def put_back(self) -> Change | None:
        """Puts a backup back that is one transaction old, under a fresh epoch."""
        if len(self.backups) < 2:
            return None
        self.seq, self.floor, self.rows = self.backups[-2]
        self.rows = dict(self.rows)
        return self.begin_again()

    def begin_again(self) -> Change:
        """Gives the inbox a fresh epoch."""
        self._begin_epoch()
        self.looked[self.end], self.counted[self.end] = self.shown, self.unread
        return self._change(self.seq, [])

    # -- Reading -----------------------------------------------------------------------------------------------------

    def pull(self, since: Position | None) -> Pull:
        """Answers as the store does."""
        if since is not None and (since.offset == 0 or self._continues(since)):
            changed = sorted(self.rows.values(), key=lambda one: (one.changed_seq, one.id))
            rows = tuple(one for one in changed if one.changed_seq > since.offset)
            if len(rows) <= LIMIT:
                return Pull(self.owner, self.end, self.unread, True, rows)
        unread = sorted((one for one in self.rows.values() if one.counts_as_unread), key=lambda one: one.id)
        went_back = since is not None and since.epoch == self.epoch and since.offset > self.seq
        more = len(unread) > LIMIT
        return Pull(self.owner, self.end, self.unread, False, tuple(unread[-LIMIT:]), more=more, went_back=went_back)

    def answered(self, answer: Any) -> Any:
        """Is given each snapshot when it is answered, which is later than it was taken."""
        return answer

    def _continues(self, since: Position) -> bool:
        return since.epoch == self.epoch and self.floor <= since.offset <= self.seq

    def _begin_epoch(self) -> None:
        self._epochs += 1
        self.epoch = f"{self._epochs:08x}"
        self.backups = [Backup(self.seq, self.floor, dict(self.rows))]

    def _set(self, id_: int, **fields: Any) -> Change | None:
        old = self.rows.get(id_)
        if old is None or old.deleted_ms is not None or all(getattr(old, name) for name in fields):
            return None
        prev = self.seq
        return self._committed(prev, [self._put(old._replace(changed_seq=prev + 1, **fields))])

    def _put(self, one: Notification) -> Notification:
        self.rows[one.id] = one
        self.seq = one.changed_seq
        self.looked[self.end] = self.shown
        return one

    def _committed(self, prev: int, rows: list[Notification]) -> Change:
        self.backups.append(Backup(self.seq, self.floor, dict(self.rows)))
        for offset in range(prev + 1, self.seq + 1):
            self.counted[Position(self.epoch, offset)] = self.unread
        return self._change(prev, rows)

    def _change(self, prev: int, rows: list[Notification]) -> Change:
        return Change(self.owner, self.epoch, prev, self.seq, self.unread, READ_MS, tuple(rows))
