"""Reads the timeline. Each function is given a snapshot, and leaves out nothing that belongs to the selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from shared.store.tables import deliveries, events
from shared.store.timeline.rows import Count, Counts, Cursor, Delivery, Overdue, Part, Told, Wanted

_d, _e = deliveries.c, events.c
_DELIVERY = [_d[name] for name in Delivery._fields]
_TOLD = [_e[name] for name in Told._fields]
_ORDER = (_d.created_ms, _d.request_id, _d.client, _d.channel)

HOUR_MS = 3_600_000
_FIRST = ("accepted", "replayed", "attempted", "token_dead")
#: Most deliveries and most events of one request_id that are read: hostile callers may share one.
MOST_OF_ONE, MOST_EVENTS = 200, 2_000


def of_request(connection: Connection, request_id: str, client: str | None) -> tuple[list[Delivery], list[Told]]:
    """Returns where the notification stands on its channels, and its events, the oldest first.

    Without a ``client`` they are those of all clients that have used the id.
    """
    own = [_d.tenant == "", _d.request_id == request_id, *([] if client is None else [_d.client == client])]
    found = connection.execute(sa.select(*_DELIVERY).where(*own).order_by(_d.client, _d.channel).limit(MOST_OF_ONE))
    told = [_e.tenant == "", _e.request_id == request_id, *([] if client is None else [_e.client == client])]
    rows = connection.execute(sa.select(*_TOLD).where(*told).order_by(_e.at_ms, _e.id).limit(MOST_EVENTS))
    return [Delivery._make(row) for row in found], sorted(map(Told._make, rows), key=_moment)


def _moment(one: Told) -> tuple[int, int, int, int]:
    """Orders what happened in the same millisecond: first what leads to the rest."""
    return one.at_ms, one.replay, one.attempt, _FIRST.index(one.kind) if one.kind in _FIRST else len(_FIRST)


def page(connection: Connection, wanted: Wanted, cursor: Cursor | None, limit: int) -> Part:
    """Returns a part of the list of deliveries, newest first, from behind the ``cursor``."""
    statement = sa.select(*_DELIVERY).where(*_conditions(wanted))
    if cursor is not None:
        statement = statement.where(sa.tuple_(*_ORDER) < sa.tuple_(*cursor))
    found = connection.execute(statement.order_by(*(column.desc() for column in _ORDER)).limit(limit + 1)).all()
    items = tuple(Delivery._make(row) for row in found[:limit])
    last = items[-1] if len(found) > limit and items else None
    return Part(items, None if last is None else Cursor(last.created_ms, last.request_id, last.client, last.channel))


def counts(connection: Connection, wanted: Wanted) -> Counts:
    """Counts the selected deliveries, and how long they took.

    Latencies keep two digits: below 100 ms each millisecond counts for itself, below a second each hundredth, and so
    on. So the database groups them in one pass, whatever their number.
    """
    chosen = _conditions(wanted)
    hour = _d.created_ms // HOUR_MS * HOUR_MS
    kinds = (hour.label("hour_ms"), _d.channel, _d.status, _d.priority, _d.type)
    found = connection.execute(sa.select(*kinds, sa.func.count()).where(*chosen).group_by(*kinds))
    ms = _d.latency_ms
    rough = sa.case(
        (ms < 100, ms), (ms < 1_000, ms // 10 * 10), (ms < 10_000, ms // 100 * 100), else_=ms // 1_000 * 1_000
    ).label("ms")
    took = connection.execute(
        sa.select(_d.channel, rough, sa.func.count()).where(*chosen, ms.is_not(None)).group_by(_d.channel, rough)
    )
    return Counts(tuple(Count._make(row) for row in found), tuple((c, int(t), n) for c, t, n in took))


def overdue(connection: Connection, before_ms: int, since_ms: int, limit: int) -> list[Overdue]:
    """Returns deliveries that have no end yet, and of which nothing was heard since ``before_ms``, the oldest first.

    Left out are those that wait on the ladder, those that were accepted before ``since_ms``, and those that were
    published again since ``before_ms``.
    """
    columns = [_d[name] for name in Overdue._fields]
    statement = (
        sa.select(*columns)
        .where(
            _d.status == "pending",
            _d.body.is_not(None),
            _d.updated_ms < before_ms,
            _d.next_try_ms < before_ms,
            _d.republished_ms < before_ms,
            _d.created_ms >= since_ms,
        )
        .order_by(_d.updated_ms)
        .limit(limit)
    )
    return [Overdue._make(row) for row in connection.execute(statement)]


def _conditions(wanted: Wanted) -> Sequence[sa.ColumnElement[bool]]:
    values: tuple[tuple[Any, Any], ...] = (
        (_d.client, wanted.client),
        (_d.user_id, wanted.user_id),
        (_d.request_id, wanted.request_id),
        (_d.channel, wanted.channel),
        (_d.status, wanted.status),
        (_d.priority, wanted.priority),
        (_d.type, wanted.type),
    )
    given = [column == value for column, value in values if value is not None]
    if wanted.user_id is not None:
        # It is the condition of the index of users.
        given.append(_d.user_id != "")
    if wanted.since_ms is not None:
        given.append(_d.created_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        given.append(_d.created_ms < wanted.until_ms)
    return [_d.tenant == "", *given]
