"""Prepares a batch of notifications for the insert, and turns what the database answered into its result.

Both backends use it; ``insert`` chooses between them.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.store.values import Change, Inserted, NewNotification, Notification, Owner, Repeated, Stored

#: What makes a notification unique: tenant, user_id, client, request_id.
Key = tuple[str, str, str, str]

_NUL, _REPLACEMENT = "\0", "\N{REPLACEMENT CHARACTER}"


class InboxState(NamedTuple):
    """Holds the counters of one inbox while its row is locked."""

    epoch: str
    seq: int
    unread: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Holds the notifications of a batch, without repeats within it; ``keys`` are those of the batch as it came."""

    keys: tuple[Key, ...]
    new: dict[Key, NewNotification]
    now_ms: int

    @classmethod
    def of(cls, notifications: Sequence[NewNotification], now_ms: int) -> Batch:
        cleaned = [_without_nul(notification) for notification in notifications]
        keys = tuple((n.tenant, n.user_id, n.client, n.request_id) for n in cleaned)
        # Of two with the same key, the first one counts.
        return cls(keys, dict(zip(reversed(keys), reversed(cleaned), strict=True)), now_ms)

    def first_come(self) -> list[Key]:
        """Returns each key once, in the order of the batch: the offsets follow it."""
        return list(dict.fromkeys(self.keys))

    def result(
        self, stored: Mapping[Key, Notification], before: Mapping[Key, int], inboxes: Mapping[Owner, InboxState]
    ) -> Inserted:
        """Returns the result, of the rows that are new now, the ids that were there before, and the inboxes as now.

        ``stored`` has the order of the batch.
        """
        rows: dict[Owner, list[Notification]] = {owner: [] for owner in inboxes}
        for row in stored.values():
            rows[row.owner].append(row)
        results: list[Stored | Repeated] = []
        met: set[Key] = set()
        for key in self.keys:
            if key in before:
                results.append(Repeated(before[key]))
                continue
            row = stored[key]
            results.append(Repeated(row.id) if key in met else Stored(row.id, row.seq))
            met.add(key)
        changes = tuple(
            Change(
                owner,
                state.epoch,
                state.seq - len(rows[owner]),
                state.seq,
                state.unread,
                self.now_ms,
                tuple(rows[owner]),
            )
            for owner, state in inboxes.items()
        )
        return Inserted(tuple(results), changes)


def counted(keys: Sequence[Key]) -> dict[Owner, int]:
    """Returns how many of the keys each inbox has, in the order of their first one."""
    counts = Counter((user_id, tenant) for tenant, user_id, _, _ in keys)
    return {Owner._make(owner): count for owner, count in counts.items()}


def offsets_of(notifications: Sequence[NewNotification], inboxes: Mapping[Owner, InboxState]) -> list[int]:
    """Returns the offset of each; the last one in an inbox has the offset at which that inbox ends now."""
    owners = [(n.user_id, n.tenant) for n in notifications]
    left = Counter(owners)
    offsets = []
    for owner in owners:
        left[owner] -= 1
        offsets.append(inboxes[Owner._make(owner)].seq - left[owner])
    return offsets


def rows_of(
    notifications: Sequence[NewNotification], ids: Iterable[int], offsets: Sequence[int], now_ms: int
) -> list[Notification]:
    """Returns the notifications as rows with these ids and offsets."""
    # fmt: off
    return [
        Notification(
            id_, tenant, user_id, client, request_id, seq, seq, type_, priority, category, title, body, extra,
            created_ms, now_ms, None, None, None, expires_ms,
        )
        for id_, seq, (
            user_id, request_id, client, type_, priority, category, title, body, extra, created_ms, expires_ms, tenant
        ) in zip(ids, offsets, notifications, strict=False)
    ]
    # fmt: on


def new_epochs(count: int) -> list[str]:
    """Returns as many times 8 random hex digits."""
    digits = secrets.token_hex(4 * count)
    return [digits[at : at + 8] for at in range(0, 8 * count, 8)]


def _without_nul(n: NewNotification) -> NewNotification:
    """Replaces U+0000, which JSON may hold and PostgreSQL refuses in texts. Both databases then hold the same."""
    if _NUL not in f"{n.title}{n.body}{n.extra}{n.user_id}{n.request_id}{n.client}{n.type}{n.priority}{n.category}":
        return n
    return NewNotification._make(v.replace(_NUL, _REPLACEMENT) if isinstance(v, str) else v for v in n)
