"""Reads inboxes. Each function is given a snapshot: all that it reads belongs together.

The statements of a pull are written by hand, because every device that connects needs them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.sql.selectable import Select

from shared.store.tables import inbox, notifications
from shared.store.values import (
    EMPTY,
    PULL_TEXT_BYTES,
    Filter,
    Notification,
    Owner,
    Page,
    Position,
    Pull,
    Summary,
    Totals,
)

_n = notifications.c
_i = inbox.c
UNREAD = sa.and_(_n.read_ms.is_(None), _n.archived_ms.is_(None), _n.deleted_ms.is_(None))
_ROW = [_n[name] for name in Notification._fields[:-1]]

_STATES = {
    True: """
        SELECT i.user_id, i.tenant, i.epoch, i.seq, i.unread, i.floor
        FROM json_each(?) AS wanted
        JOIN inbox AS i
          ON i.tenant = json_extract(wanted.value, '$[1]') AND i.user_id = json_extract(wanted.value, '$[0]')""",
    False: """
        SELECT i.user_id, i.tenant, i.epoch, i.seq, i.unread, i.floor
        FROM unnest(%s::text[], %s::text[]) AS wanted (user_id, tenant) JOIN inbox AS i USING (user_id, tenant)""",
}


def _pulled_columns(size: str) -> str:
    """Returns the columns of a pull; ``size`` is the expression for the bytes of the text ``{0}``."""
    columns = ", ".join(
        f"CASE WHEN {size.format('body')} > {PULL_TEXT_BYTES} THEN substr(body, 1, {PULL_TEXT_BYTES}) ELSE body END"
        if name == "body"
        else f"CASE WHEN {size.format('extra')} > {PULL_TEXT_BYTES} THEN '{{}}' ELSE extra END"
        if name == "extra"
        else name
        for name in Notification._fields[:-1]
    )
    return f"{columns}, {size.format('body')} > {PULL_TEXT_BYTES} OR {size.format('extra')} > {PULL_TEXT_BYTES}"


_PULLED = {True: _pulled_columns("length(CAST({0} AS BLOB))"), False: _pulled_columns("octet_length({0})")}
_SINCE = (
    "SELECT {0} FROM notifications WHERE tenant = {1} AND user_id = {1} AND changed_seq > {1}"
    " ORDER BY changed_seq, id LIMIT {1}"
)
_NEWEST_UNREAD = (
    "SELECT {0} FROM notifications WHERE tenant = {1} AND user_id = {1}"
    " AND read_ms IS NULL AND archived_ms IS NULL AND deleted_ms IS NULL ORDER BY id DESC LIMIT {1}"
)
_SINCE_BY_BACKEND = {sqlite: _SINCE.format(_PULLED[sqlite], "?" if sqlite else "%s") for sqlite in (True, False)}
_NEWEST_BY_BACKEND = {
    sqlite: _NEWEST_UNREAD.format(_PULLED[sqlite], "?" if sqlite else "%s") for sqlite in (True, False)
}


def pull(connection: Connection, wanted: Sequence[tuple[Owner, Position | None]], limit: int) -> list[Pull]:
    """Returns what each device needs that is at this position (None: nowhere), in the order of ``wanted``."""
    # The positions come first. The other way round, a row that is committed in between would be below the position and
    # not among the rows; the snapshot alone prevents that too.
    states = _states(connection, {owner for owner, _ in wanted})
    return [_pulled(connection, owner, since, states.get(owner, _NO_INBOX), limit) for owner, since in wanted]


def positions(connection: Connection, owners: Iterable[Owner]) -> dict[Owner, Position]:
    """Returns the ends of these inboxes; who has none is absent."""
    return {owner: Position(epoch, seq) for owner, (epoch, seq, _, _) in _states(connection, set(owners)).items()}


def summary(connection: Connection, owner: Owner) -> Summary:
    """Returns the counters of an inbox."""
    columns = (_i.epoch, _i.seq, _i.unread, _i.total, _i.delivered_seq, _i.seen_seq)
    found = connection.execute(sa.select(*columns).where(_is(inbox, owner))).one_or_none()
    if found is None:
        return EMPTY
    epoch, seq, unread, total, delivered, seen = found
    return Summary(Position(epoch, seq), unread, total, delivered, seen)


def get(connection: Connection, owner: Owner, id_: int) -> Notification | None:
    """Returns the notification, None if this user has none with this id or has deleted it."""
    statement = sa.select(*_ROW).where(_is(notifications, owner), _n.id == id_, _n.deleted_ms.is_(None))
    found = connection.execute(statement).one_or_none()
    return None if found is None else Notification._make((*found, False))


def page(connection: Connection, owner: Owner, wanted: Filter, cursor: int | None, limit: int, skip: int) -> Page:
    """Returns the notifications that match, newest first, with ids below ``cursor``."""
    statement = sa.select(*_ROW).where(_is(notifications, owner), *_conditions(wanted))
    if cursor is not None:
        statement = statement.where(_n.id < cursor)
    found = connection.execute(_newest_first(statement, wanted).limit(limit + 1).offset(skip)).all()
    items = tuple(Notification._make((*row, False)) for row in found[:limit])
    unread = connection.execute(sa.select(_i.unread).where(_is(inbox, owner))).scalar()
    return Page(items, items[-1].id if len(found) > limit and items else None, unread or 0)


def totals(connection: Connection) -> Totals:
    """Counts everything, and the bytes of the tables with their indexes."""
    inboxes, live, unread = connection.execute(
        sa.select(sa.func.count(), sa.func.sum(_i.total), sa.func.sum(_i.unread)).select_from(inbox)
    ).one()
    tombstones = connection.execute(sa.select(sa.func.count()).where(_n.deleted_ms.is_not(None))).scalar()
    size = (
        "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        if is_sqlite(connection)
        else "SELECT pg_total_relation_size('inbox') + pg_total_relation_size('notifications')"
    )
    size_bytes = connection.exec_driver_sql(size).scalar()
    return Totals(inboxes, int(live or 0), int(unread or 0), tombstones or 0, size_bytes or 0)


def _newest_first(statement: Select[Any], wanted: Filter) -> Select[Any]:
    # Only unread rows have an index by id. For the others a plain ORDER BY id tempts PostgreSQL to walk through the
    # rows of all users from the newest one on.
    return statement.order_by(_n.id.desc() if wanted.status == "unread" else (_n.id + 0).desc())


def _conditions(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    statuses: dict[str, list[sa.ColumnElement[bool]]] = {
        "unread": [_n.read_ms.is_(None), _n.archived_ms.is_(None)],
        "read": [_n.read_ms.is_not(None), _n.archived_ms.is_(None)],
        "archived": [_n.archived_ms.is_not(None)],
        "all": [],
    }
    values = ((_n.type, wanted.type), (_n.priority, wanted.priority), (_n.category, wanted.category))
    given = [column == value for column, value in values if value is not None]
    return [_n.deleted_ms.is_(None), *statuses[wanted.status], *given]


#: epoch, offset, unread, floor
_State = tuple[str, int, int, int]
_NO_INBOX: _State = ("", 0, 0, 0)


def _pulled(connection: Connection, owner: Owner, since: Position | None, state: _State, limit: int) -> Pull:
    epoch, seq, unread, floor = state
    end = Position(epoch, seq)
    if since is not None and (since.offset == 0 or (since.epoch == epoch and floor <= since.offset <= seq)):
        rows = _rows(connection, _SINCE_BY_BACKEND, owner, since.offset, limit + 1) if since.offset < seq else ()
        if len(rows) <= limit:
            return Pull(owner, end, unread, recovered=True, rows=rows)
    went_back = since is not None and since.epoch == epoch and since.offset > seq
    newest = _rows(connection, _NEWEST_BY_BACKEND, owner, limit + 1) if unread else ()
    oldest_first = tuple(reversed(newest[:limit]))
    return Pull(owner, end, unread, False, oldest_first, more=len(newest) > limit, went_back=went_back)


def _rows(connection: Connection, statements: dict[bool, str], owner: Owner, *values: int) -> tuple[Notification, ...]:
    found = connection.exec_driver_sql(statements[is_sqlite(connection)], (owner.tenant, owner.user_id, *values))
    return tuple(_shortened(Notification._make(row)) for row in found)


def _shortened(row: Notification) -> Notification:
    if not row.partial:
        return row._replace(partial=False)
    # The database has cut characters, of which each may have several bytes.
    body = row.body.encode()[:PULL_TEXT_BYTES].decode(errors="ignore")
    return row._replace(body=body, partial=True)


def _states(connection: Connection, owners: set[Owner]) -> dict[Owner, _State]:
    sqlite = is_sqlite(connection)
    chosen = list(owners)
    values: tuple[Any, ...] = ([o.user_id for o in chosen], [o.tenant for o in chosen])
    if sqlite:
        values = (json.dumps(chosen, ensure_ascii=False),)
    found = connection.exec_driver_sql(_STATES[sqlite], values)
    return {Owner(user_id, tenant): (epoch, seq, unread, floor) for user_id, tenant, epoch, seq, unread, floor in found}


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _is(table: sa.Table, owner: Owner) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.tenant == owner.tenant, table.c.user_id == owner.user_id)
