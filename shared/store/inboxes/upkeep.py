"""Keeps the database small and its positions true: retention, expiry, purges, erasures, and fresh epochs.

Call these again until they return nothing more.
"""

from __future__ import annotations

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from shared.store.inboxes import changes
from shared.store.inboxes.batch import new_epochs
from shared.store.inboxes.reading import is_sqlite
from shared.store.tables import inbox, notifications
from shared.store.values import Change, Owner, Position

log = structlog.get_logger(__name__)

#: Most rows that one transaction removes: others wait for its locks meanwhile.
CHUNK_ROWS = 1000

_n = notifications.c
_i = inbox.c


def due_by_age(connection: Connection, before_ms: int, after_id: int) -> tuple[list[tuple[int, Owner]], int | None]:
    """Returns (id, owner) of rows that were stored before a time, from the oldest ones with an id above ``after_id``.

    It looks at one chunk of rows, since ids rise with the time. The second value is the id to go on with, or None if
    the rows of the chunk are not old enough any more.
    """
    statement = (
        sa.select(_n.id, _n.user_id, _n.tenant, _n.deleted_ms, _n.stored_ms)
        .where(_n.id > after_id)
        .order_by(_n.id)
        .limit(CHUNK_ROWS)
    )
    found = connection.execute(statement).all()
    due = [
        (row.id, Owner(row.user_id, row.tenant))
        for row in found
        if row.stored_ms < before_ms and row.deleted_ms is None
    ]
    has_more = len(found) == CHUNK_ROWS and any(row.stored_ms < before_ms for row in found)
    return due, found[-1].id if has_more else None


def due_by_expiry(connection: Connection, now_ms: int) -> list[tuple[int, Owner]]:
    """Returns (id, owner) of one chunk of the rows whose time is over."""
    statement = (
        sa.select(_n.id, _n.user_id, _n.tenant)
        .where(_n.expires_ms <= now_ms, _n.expires_ms.is_not(None), _n.deleted_ms.is_(None))
        .order_by(_n.expires_ms)
        .limit(CHUNK_ROWS)
    )
    return [(id_, Owner(user_id, tenant)) for id_, user_id, tenant in connection.execute(statement)]


def bury(connection: Connection, due: list[tuple[int, Owner]], now_ms: int) -> list[Change]:
    """Turns these rows into tombstones, with one offset for each inbox."""
    ids: dict[Owner, list[int]] = {}
    for id_, owner in due:
        ids.setdefault(owner, []).append(id_)
    buried = []
    for owner in changes.lock_all(connection, list(ids)):
        change = changes.delete(connection, owner, ids[owner], now_ms)
        if change is not None:
            buried.append(change)
    return buried


def purge(connection: Connection, before_ms: int) -> int:
    """Removes one chunk of the tombstones that were made before a time. Returns how many it removed.

    Positions below a removed tombstone cannot be continued any more: nothing would tell the device to drop the row. So
    the floor of its inbox rises in the same transaction.
    """
    statement = (
        sa.select(_n.id, _n.user_id, _n.tenant)
        .where(_n.deleted_ms < before_ms, _n.deleted_ms.is_not(None))
        .order_by(_n.deleted_ms)
        .limit(CHUNK_ROWS)
    )
    found = [(id_, Owner(user_id, tenant)) for id_, user_id, tenant in connection.execute(statement)]
    owners = {owner for _, owner in found}
    changes.lock_all(connection, list(owners))
    removed = connection.execute(
        sa.delete(notifications)
        .where(_n.id.in_([id_ for id_, _ in found]))
        .returning(_n.user_id, _n.tenant, _n.changed_seq)
    ).all()
    floors: dict[Owner, int] = {}
    for user_id, tenant, changed_seq in removed:
        owner = Owner(user_id, tenant)
        floors[owner] = max(floors.get(owner, 0), changed_seq)
    for owner, floor in floors.items():
        connection.execute(
            sa.update(inbox)
            .where(_i.tenant == owner.tenant, _i.user_id == owner.user_id, _i.floor < floor)
            .values(floor=floor)
        )
    return len(removed)


def erase(connection: Connection, owner: Owner, now_ms: int) -> Change | None:
    """Removes everything of one user, without a trace; None if there is nothing."""
    if changes.lock(connection, owner) is None:
        return None
    connection.execute(sa.delete(notifications).where(_n.tenant == owner.tenant, _n.user_id == owner.user_id))
    connection.execute(sa.delete(inbox).where(_i.tenant == owner.tenant, _i.user_id == owner.user_id))
    return Change(owner, epoch="", prev=0, to=0, unread=0, at_ms=now_ms)


def rotate_epoch(connection: Connection, owner: Owner, seen: Position, now_ms: int) -> Change | None:
    """Gives an inbox a fresh epoch if ``seen`` lies behind its end; None if it does not (any more)."""
    state = changes.lock(connection, owner)
    if state is None or state.epoch != seen.epoch or state.seq >= seen.offset:
        return None
    (epoch,) = new_epochs(1)
    connection.execute(
        sa.update(inbox).where(_i.tenant == owner.tenant, _i.user_id == owner.user_id).values(epoch=epoch)
    )
    log.error("store_went_back", offset=state.seq, seen_offset=seen.offset)
    return Change(owner, epoch, state.seq, state.seq, state.unread, now_ms)


def restored(connection: Connection) -> int:
    """Gives every inbox a fresh epoch. Returns how many there are."""
    fresh = (
        "lower(hex(randomblob(4)))" if is_sqlite(connection) else "left(replace(gen_random_uuid()::text, '-', ''), 8)"
    )
    return connection.execute(sa.update(inbox).values(epoch=sa.text(fresh))).rowcount
