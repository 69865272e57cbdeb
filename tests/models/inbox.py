"""Describes the inboxes in the plainest way: a list of changes for each user, and what each row is now.

It knows no transaction, no index and no lock. The store must do and say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Row:
    request: str
    read: bool = False
    archived: bool = False
    deleted: bool = False

    @property
    def unread(self) -> bool:
        return not (self.read or self.archived or self.deleted)


@dataclass
class Inbox:
    """Holds the rows in the order of their creation; ``changed`` maps each to the offset of its last change."""

    seq: int = 0
    floor: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def unread(self) -> list[str]:
        return [request for request, row in self.rows.items() if row.unread]

    @property
    def live(self) -> list[str]:
        return [request for request, row in self.rows.items() if not row.deleted]

    def add(self, request: str) -> bool:
        """Adds a row, which takes one offset, unless there is one; tells whether it did."""
        if request in self.rows:
            return False
        self.seq += 1
        self._put(Row(request))
        return True

    def change(
        self,
        requests: list[str],
        *,
        read: bool | None = None,
        archived: bool | None = None,
        deleted: bool = False,
    ) -> list[str]:
        """Changes rows, which takes one offset for all that really change; returns those, oldest first."""
        changed = []
        for request, row in self.rows.items():
            if request not in requests or row.deleted:
                continue
            after = replace(
                row,
                read=row.read if read is None else read,
                archived=row.archived if archived is None else archived,
                deleted=deleted,
            )
            if after != row:
                changed.append(after)
        if changed:
            self.seq += 1
        for row in changed:
            self._put(row)
        return [row.request for row in changed]

    def read_upto(self, last: str) -> list[str]:
        order = list(self.rows)
        upto = order[: order.index(last) + 1]
        return self.change([request for request in upto if self.rows[request].unread], read=True)

    def purge(self) -> int:
        """Forgets the tombstones, so that nobody can go on from before them."""
        gone = [request for request, row in self.rows.items() if row.deleted]
        for request in gone:
            self.floor = max(self.floor, self.changed.pop(request))
            del self.rows[request]
        return len(gone)

    def since(self, offset: int) -> list[str]:
        """Returns the rows that changed after an offset, in the order of their changes."""
        order = {request: place for place, request in enumerate(self.rows)}
        found = [request for request, changed in self.changed.items() if changed > offset]
        return sorted(found, key=lambda request: (self.changed[request], order[request]))

    def continues(self, offset: int) -> bool:
        return offset == 0 or self.floor <= offset <= self.seq

    def _put(self, row: Row) -> None:
        self.rows[row.request] = row
        self.changed[row.request] = self.seq
