"""Reads inboxes from the store, and says how a device differs from them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from notify_client.inbox import Inbox, Row
from shared.store.store import Store
from shared.store.values import Notification, Owner, Position

#: more rows than any scenario writes for one user
_ALL_ROWS = 1_000_000
_NOTHING = Position("", 0)


@dataclass(frozen=True)
class Truth:
    """Holds the inbox of one user, from one snapshot; ``rows`` include the traces of deleted ones."""

    position: Position
    unread: int
    rows: Mapping[int, Notification]


async def read_truths(store: Store, users: Collection[str]) -> dict[str, Truth]:
    """Returns the inboxes of these users, all from one snapshot. Raises StoreUnavailable."""
    wanted = [(Owner(user), _NOTHING) for user in users]
    pulls = await asyncio.to_thread(store.pull, wanted, _ALL_ROWS)
    return {pull.owner.user_id: Truth(pull.position, pull.unread, {row.id: row for row in pull.rows}) for pull in pulls}


def differences(inbox: Inbox, loaded_at: int, truth: Truth) -> list[str]:
    """Returns how a device differs from the inbox; [] if it shows, for all that it has loaded, exactly the inbox.

    It has loaded what was unread at the offset ``loaded_at``, and every row that has changed since.
    """
    if inbox.position is None:
        return ["it has loaded nothing"]
    if tuple(inbox.position) != tuple(truth.position):
        return [f"it is at {_name(*inbox.position)}, and the inbox is at {_name(*truth.position)}"]
    found = []
    if inbox.unread != truth.unread:
        found.append(f"it counts {inbox.unread} unread instead of {truth.unread}")
    for id_, row in inbox.rows.items():
        stored = truth.rows.get(id_)
        if stored is None or stored.deleted_ms is not None:
            found.append(f"it shows {id_}, which is {'not there' if stored is None else 'deleted'}")
        elif _form_of(row) != _form_of_stored(stored):
            found.append(f"it shows {id_} as {_form_of(row)} instead of {_form_of_stored(stored)}")
    there = [row for row in truth.rows.values() if row.deleted_ms is None]
    due = {row.id for row in there if row.counts_as_unread or row.seq > loaded_at}
    missing = sorted(due - inbox.rows.keys())
    if missing:
        found.append(f"it lacks {len(missing)} rows, such as {missing[0]}")
    return found


_Form = tuple[int, str, str, bool, bool]


def _form_of(row: Row) -> _Form:
    return row.offset, row.request_id, row.title, row.read_at is not None, row.archived_at is not None


def _form_of_stored(row: Notification) -> _Form:
    return row.changed_seq, row.request_id, row.title, row.read_ms is not None, row.archived_ms is not None


def _name(epoch: str, offset: int) -> str:
    return f"{epoch}:{offset}"
