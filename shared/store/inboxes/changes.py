"""Changes rows that exist. Each function locks the inbox first, then changes rows, within the caller's transaction.

What really changes takes one offset, however many rows that are. If nothing changes there is no offset and no change to
tell of, so two devices that press the same button at once do not answer each other without end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from shared.store.inboxes.batch import InboxState
from shared.store.inboxes.reading import UNREAD
from shared.store.tables import inbox, notifications
from shared.store.values import Change, Notification, Owner

_n = notifications.c
_i = inbox.c
_ROW = [_n[name] for name in Notification._fields[:-1]]
#: What remains of the texts of a deleted row: nothing that anybody could read.
_EMPTIED: dict[str, Any] = {"title": "", "body": "", "extra": "{}"}


def mark(
    connection: Connection, owner: Owner, ids: Sequence[int], now_ms: int, *, read: bool | None, archived: bool | None
) -> Change | None:
    """Marks rows as read or not, and as archived or not; None leaves that as it is."""
    state = lock(connection, owner)
    if state is None:
        return None
    changed = []
    for row in _present(connection, owner, ids):
        after = row._replace(
            read_ms=_marked(row.read_ms, read, now_ms),
            archived_ms=_marked(row.archived_ms, archived, now_ms),
            changed_seq=state.seq + 1,
        )
        if (after.read_ms, after.archived_ms) != (row.read_ms, row.archived_ms):
            changed.append((row, after))
    for values, group in _by_values(changed).items():
        _update(connection, group, state.seq + 1, dict(zip(("read_ms", "archived_ms"), values, strict=True)))
    return _changed(connection, owner, state, changed, now_ms)


def delete(connection: Connection, owner: Owner, ids: Sequence[int], now_ms: int) -> Change | None:
    """Turns rows into tombstones, whose texts are gone."""
    state = lock(connection, owner)
    if state is None:
        return None
    changed = [
        (row, row._replace(deleted_ms=now_ms, changed_seq=state.seq + 1, **_EMPTIED))
        for row in _present(connection, owner, ids)
    ]
    _update(connection, [row.id for row, _ in changed], state.seq + 1, {"deleted_ms": now_ms, **_EMPTIED})
    return _changed(connection, owner, state, changed, now_ms)


def read_all(connection: Connection, owner: Owner, upto: int, now_ms: int) -> Change | None:
    """Marks as read everything with an id up to ``upto`` that counts as unread."""
    state = lock(connection, owner)
    if state is None:
        return None
    statement = (
        sa.update(notifications)
        .where(_n.tenant == owner.tenant, _n.user_id == owner.user_id, _n.id <= upto, UNREAD)
        .values(read_ms=now_ms, changed_seq=state.seq + 1)
    )
    count = connection.execute(statement).rowcount
    if not count:
        return None
    unread = state.unread - count
    _advance(connection, owner, state.seq + 1, unread, total_less=0)
    return Change(owner, state.epoch, state.seq, state.seq + 1, unread, now_ms, read_upto=upto)


def lock(connection: Connection, owner: Owner) -> InboxState | None:
    """Locks an inbox until the end of the transaction, and returns it; None if there is none."""
    return lock_all(connection, [owner]).get(owner)


def lock_all(connection: Connection, owners: Sequence[Owner]) -> dict[Owner, InboxState]:
    """Locks inboxes in ascending order, as every writer does; otherwise two of them could wait for each other."""
    statement = (
        sa.select(_i.user_id, _i.tenant, _i.epoch, _i.seq, _i.unread)
        .where(sa.tuple_(_i.tenant, _i.user_id).in_([(owner.tenant, owner.user_id) for owner in owners]))
        .order_by(_i.tenant, _i.user_id)
        .with_for_update()
    )
    return {
        Owner(user_id, tenant): InboxState(epoch, seq, unread)
        for user_id, tenant, epoch, seq, unread in connection.execute(statement)
    }


def raise_marks(connection: Connection, column: str, offsets: Mapping[Owner, int]) -> None:
    """Raises ``delivered_seq`` or ``seen_seq`` to these offsets, at most to the end; never lowers one."""
    found = lock_all(connection, list(offsets))
    if not found:
        return
    offset = sa.bindparam("to", type_=sa.BigInteger)
    connection.execute(
        sa.update(inbox)
        .where(_i.tenant == sa.bindparam("whose_tenant"), _i.user_id == sa.bindparam("whose_id"))
        .where(_i[column] < offset, _i.seq >= offset)
        .values({column: offset}),
        [{"whose_tenant": owner.tenant, "whose_id": owner.user_id, "to": offsets[owner]} for owner in found],
    )


def _marked(at_ms: int | None, wanted: bool | None, now_ms: int) -> int | None:
    if wanted is None:
        return at_ms
    return (at_ms or now_ms) if wanted else None


def _present(connection: Connection, owner: Owner, ids: Sequence[int]) -> list[Notification]:
    """Returns those rows of this user that are not deleted, by their ids."""
    statement = (
        sa.select(*_ROW)
        .where(_n.tenant == owner.tenant, _n.user_id == owner.user_id, _n.id.in_(ids), _n.deleted_ms.is_(None))
        .order_by(_n.id)
    )
    return [Notification._make((*row, False)) for row in connection.execute(statement)]


def _by_values(
    changed: Sequence[tuple[Notification, Notification]],
) -> dict[tuple[int | None, int | None], list[int]]:
    groups: dict[tuple[int | None, int | None], list[int]] = {}
    for _, after in changed:
        groups.setdefault((after.read_ms, after.archived_ms), []).append(after.id)
    return groups


def _update(connection: Connection, ids: Sequence[int], seq: int, values: dict[str, Any]) -> None:
    if ids:
        connection.execute(sa.update(notifications).where(_n.id.in_(ids)).values(changed_seq=seq, **values))


def _changed(
    connection: Connection,
    owner: Owner,
    state: InboxState,
    changed: Sequence[tuple[Notification, Notification]],
    now_ms: int,
) -> Change | None:
    if not changed:
        return None
    unread = state.unread + sum(after.counts_as_unread - before.counts_as_unread for before, after in changed)
    gone = sum(after.deleted_ms is not None for _, after in changed)
    _advance(connection, owner, state.seq + 1, unread, total_less=gone)
    rows = tuple(after for _, after in changed)
    return Change(owner, state.epoch, state.seq, state.seq + 1, unread, now_ms, rows)


def _advance(connection: Connection, owner: Owner, seq: int, unread: int, *, total_less: int) -> None:
    connection.execute(
        sa.update(inbox)
        .where(_i.tenant == owner.tenant, _i.user_id == owner.user_id)
        .values(seq=seq, unread=unread, total=_i.total - total_less)
    )
