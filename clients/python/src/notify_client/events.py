"""Defines what a listener yields."""

from __future__ import annotations

from dataclasses import dataclass

from notify_client.inbox import Row


@dataclass(frozen=True, slots=True)
class Connected:
    """Says that the device is equal to the server, after ``Missed``."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Says that the connection has ended, and after how many seconds the next one is tried."""

    code: int
    reason: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class Arrived:
    """Says that a notification came just now. ``is_new`` is False if this process has seen it before."""

    row: Row
    unread: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Missed:
    """Holds what has changed since the position of the device, rows as they are now, oldest change first.

    ``new`` are those that are unread and were never seen by this process. ``recovered`` is False at a first load, and
    if the position could not be continued: then forget everything before; ``rows`` are the newest unread ones.
    """

    rows: tuple[Row, ...]
    deleted: tuple[int, ...]
    new: tuple[Row, ...]
    recovered: bool
    unread: int


@dataclass(frozen=True, slots=True)
class Changed:
    """Holds the rows that were marked, as they are now, and the ids of those that were deleted.

    ``upto``: everything with an id up to it was marked as read, also what this process has never seen.
    """

    rows: tuple[Row, ...]
    deleted: tuple[int, ...]
    upto: int | None
    unread: int


Event = Connected | Disconnected | Arrived | Missed | Changed
