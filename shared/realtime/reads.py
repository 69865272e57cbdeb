"""Tells the timeline what a user has read in an inbox."""

from __future__ import annotations

from collections.abc import Iterator

from shared.events.event import Report, happening
from shared.store.values import Change


def read_reports(change: Change) -> Iterator[Report]:
    """Yields one report for each notification that this change has marked as read."""
    rows = [(row.client, row.request_id, row.created_ms) for row in change.rows if row.read_ms == change.at_ms]
    for client, request_id, created_ms in (*rows, *change.read_rows):
        told = (happening("read", change.at_ms),)
        yield (client, request_id, "websocket", change.owner.user_id, "", "", created_ms, 0, 0, 0, "", told)
