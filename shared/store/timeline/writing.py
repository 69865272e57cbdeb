"""Writes batches of events, each in one transaction, unless the database refuses an event of it.

An event that was written before changes nothing: only the new ones of a batch are merged into the rows of their
deliveries, in the same transaction. The statements are written by hand, because every notification has several events.
Rows are written in ascending order of their keys, so several writers do not deadlock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection

from shared.errors import DataRejected
from shared.events.event import Event
from shared.store.arrays import numbers, texts
from shared.store.database import Database
from shared.store.timeline.standing import LIVES, TERMINAL, Standing, standings

#: What makes an event unique: request_id, client, channel, id.
Key = tuple[str, str, str, int]

_EVENT_TEXTS = ("request_id", "client", "channel", "kind", "provider", "code", "reason", "detail")
_EVENT_NUMBERS = ("id", "at_ms", "replay", "attempt", "ms", "next_try_ms")
_EVENT = (*_EVENT_TEXTS, *_EVENT_NUMBERS)

_ROW_TEXTS = (
    *("request_id", "client", "channel", "user_id", "priority", "type", "status"),
    *("provider", "reason", "detail", "body"),
)
_ROW_NUMBERS = (
    *("rank", "place", "attempts", "created_ms", "updated_ms", "provider_ms", "reason_ms", "next_try_ms"),
    *("sent_ms", "delivered_ms", "read_ms", "latency_ms"),
)
_ROW = (*_ROW_TEXTS, *_ROW_NUMBERS)

_HIGHEST = ("user_id", "priority", "type", "rank", "place", "updated_ms", "provider_ms", "reason_ms", "next_try_ms")
_EARLIEST = ("sent_ms", "delivered_ms", "read_ms", "latency_ms")


def _merge(highest: str, lowest: str, bytewise: str) -> str:
    """Returns how an existing row takes in a standing; the names of the functions differ between the databases."""
    later_call = f"(excluded.provider_ms, excluded.provider{bytewise}) > (d.provider_ms, d.provider{bytewise})"
    later_failure = (
        f"(excluded.reason_ms, excluded.reason{bytewise}, excluded.detail{bytewise})"
        f" > (d.reason_ms, d.reason{bytewise}, d.detail{bytewise})"
    )
    changes = [
        *(f"{name} = {highest}(d.{name}, excluded.{name})" for name in _HIGHEST),
        *(f"{name} = COALESCE({lowest}(d.{name}, excluded.{name}), d.{name}, excluded.{name})" for name in _EARLIEST),
        f"created_ms = {lowest}(d.created_ms, excluded.created_ms)",
        "attempts = d.attempts + excluded.attempts",
        "status = CASE WHEN excluded.rank > d.rank THEN excluded.status ELSE d.status END",
        f"provider = CASE WHEN {later_call} THEN excluded.provider ELSE d.provider END",
        *(
            f"{name} = CASE WHEN {later_failure} THEN excluded.{name} ELSE d.{name} END"
            for name in ("reason", "detail")
        ),
        f"body = CASE WHEN {highest}(d.rank, excluded.rank) & {LIVES - 1} >= {TERMINAL} THEN NULL"
        " ELSE COALESCE(d.body, excluded.body) END",
    ]
    return f"ON CONFLICT (tenant, request_id, client, channel) DO UPDATE SET {', '.join(changes)}"


_INTO_EVENTS = f"INTO events (tenant, {', '.join(_EVENT)})"
_INTO_DELIVERIES = f"INSERT INTO deliveries AS d (tenant, {', '.join(_ROW)}, republished, republished_ms)"


def _unnest(names: Sequence[str], of_texts: int) -> str:
    """Returns a source of rows for PostgreSQL: one array a column, the first ``of_texts`` of them of texts."""
    arrays = [f"%s::{'text' if place < of_texts else 'bigint'}[]" for place in range(len(names))]
    return f"FROM unnest({', '.join(arrays)}) AS new ({', '.join(names)})"


_POSTGRESQL_EVENTS = (
    f"INSERT {_INTO_EVENTS} SELECT '', {', '.join(_EVENT)} {_unnest(_EVENT, len(_EVENT_TEXTS))}"
    " ON CONFLICT DO NOTHING RETURNING request_id, client, channel, id"
)
# An array without NULL is written faster.
_BODY_OR_NULL = "NULLIF(body, '')"
_POSTGRESQL_DELIVERIES = (
    f"{_INTO_DELIVERIES} SELECT '', {', '.join(_ROW).replace('body', _BODY_OR_NULL)}, 0, 0"
    f" {_unnest(_ROW, len(_ROW_TEXTS))} " + _merge("GREATEST", "LEAST", ' COLLATE "C"')
)
_SQLITE_EVENTS = f"INSERT OR IGNORE {_INTO_EVENTS} VALUES ('', {', '.join('?' * len(_EVENT))})"
_SQLITE_KNOWN = """
    SELECT e.request_id, e.client, e.channel, e.id
    FROM json_each(?) AS wanted
    JOIN events AS e
      ON e.tenant = '' AND e.request_id = json_extract(wanted.value, '$[0]')
     AND e.client = json_extract(wanted.value, '$[1]') AND e.channel = json_extract(wanted.value, '$[2]')
     AND e.id = json_extract(wanted.value, '$[3]')"""
_SQLITE_DELIVERIES = f"{_INTO_DELIVERIES} VALUES ('', {', '.join('?' * len(_ROW))}, 0, 0) " + _merge("MAX", "MIN", "")


def write(database: Database, events: Sequence[Event]) -> list[tuple[Event, str]]:
    """Writes those events that are new. Returns those that the database refuses, each with the reason.

    Raises StoreUnavailable; a part may be written then, so write the same again.
    """
    if not events:
        return []
    by_key = {_key(event): event for event in reversed(events)}
    in_order = [by_key[key] for key in sorted(by_key)]
    try:
        (_write_sqlite if database.is_sqlite else _write_postgresql)(database, in_order)
    except DataRejected as exc:
        if len(in_order) == 1:
            return [(in_order[0], str(exc))]
        half = len(in_order) // 2
        return write(database, in_order[:half]) + write(database, in_order[half:])
    return []


def _write_postgresql(database: Database, events: Sequence[Event]) -> None:
    with database.writing() as connection:
        columns = _columns([_event_row(event) for event in events], len(_EVENT_TEXTS))
        new = {tuple(row) for row in connection.exec_driver_sql(_POSTGRESQL_EVENTS, columns)}
        merged = events if len(new) == len(events) else [event for event in events if _key(event) in new]
        if merged:
            rows = [_delivery_row(standing, no_body="") for standing in standings(merged)]
            connection.exec_driver_sql(_POSTGRESQL_DELIVERIES, _columns(rows, len(_ROW_TEXTS)))


def _write_sqlite(database: Database, events: Sequence[Event]) -> None:
    with database.writing() as connection:
        # Nearly always all of them are new. Only if not, it has to be found out which.
        if _insert_sqlite(connection, events) == len(events):
            _merge_sqlite(connection, events)
            return
        connection.rollback()
    with database.writing() as connection:
        wanted = json.dumps([_key(event) for event in events], ensure_ascii=False)
        known = {tuple(row) for row in connection.exec_driver_sql(_SQLITE_KNOWN, (wanted,))}
        new = [event for event in events if _key(event) not in known]
        if new:
            _insert_sqlite(connection, new)
            _merge_sqlite(connection, new)


def _insert_sqlite(connection: Connection, events: Sequence[Event]) -> int:
    return connection.exec_driver_sql(_SQLITE_EVENTS, [_event_row(event) for event in events]).rowcount


def _merge_sqlite(connection: Connection, events: Sequence[Event]) -> None:
    connection.exec_driver_sql(
        _SQLITE_DELIVERIES, [_delivery_row(standing, no_body=None) for standing in standings(events)]
    )


def _key(event: Event) -> Key:
    return event[:4]


def _event_row(e: Event) -> tuple[str | int | None, ...]:
    # fmt: off
    return (
        e.request_id, e.client, e.channel, e.kind, e.provider, e.code, e.reason, e.detail,
        e.id, e.at_ms, e.replay, e.attempt, e.ms, e.next_try_ms,
    )
    # fmt: on


def _delivery_row(s: Standing, *, no_body: str | None) -> tuple[str | int | None, ...]:
    provider_ms, provider = s.call
    reason_ms, reason, detail = s.failure
    # fmt: off
    return (
        *s.subject, s.user_id, s.priority, s.type, s.status, provider, reason, detail,
        no_body if s.body is None else s.body,
        s.rank, s.place, s.attempts, s.created_ms, s.updated_ms, provider_ms, reason_ms, s.next_try_ms,
        s.sent_ms, s.delivered_ms, s.read_ms, s.latency_ms,
    )
    # fmt: on


def _columns(rows: Sequence[tuple[str | int | None, ...]], of_texts: int) -> tuple[str, ...]:
    columns = list(zip(*rows, strict=True))
    return tuple(texts(column) if place < of_texts else numbers(column) for place, column in enumerate(columns))
