"""Keeps the rows of one inbox equal to the server's, by the rules that every device follows. It does no I/O.

1. A row is kept by its id; of two forms of a row, the one with the higher offset wins.
2. The number of unread rows is set from frames, never counted.
3. The position moves only when a frame has been applied; a pull, which comes in several frames, is applied as a whole.
4. A frame whose ``prev`` is not the position is not applied: connect again and resume.
5. A row is new only if its id was never seen before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

#: Most rows that are kept, and most deleted ids; then the older half is forgotten. The counter does not depend on them.
MOST_ROWS = 10_000


class Position(NamedTuple):
    """Says up to which change of the inbox a device is."""

    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Row:
    """Is one notification. ``partial``: its texts are cut short; the gateway has them whole."""

    id: int
    offset: int
    request_id: str
    type: str
    priority: str
    category: str | None
    title: str
    body: str
    link: str | None
    data: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None
    created_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    expires_at: datetime | None
    partial: bool = False

    @property
    def unread(self) -> bool:
        """Tells whether it counts as unread."""
        return self.read_at is None and self.archived_at is None


def row_of(item: Mapping[str, Any]) -> Row:
    """Returns the item of a frame, or of the gateway's list, as a row."""
    return Row(
        id=item["id"],
        offset=item["offset"],
        request_id=item.get("request_id", ""),
        type=item.get("type", "info"),
        priority=item.get("priority", "medium"),
        category=item.get("category"),
        title=item.get("title", ""),
        body=item.get("body", ""),
        link=item.get("link"),
        data=item.get("data"),
        metadata=item.get("metadata"),
        created_at=_time(item.get("created_at")),
        read_at=_time(item.get("read_at")),
        archived_at=_time(item.get("archived_at")),
        expires_at=_time(item.get("expires_at")),
        partial=bool(item.get("partial")),
    )


class GapFound(Exception):
    """Says that a change was missed: the connection has to be made anew, to resume."""


class Applied(NamedTuple):
    """Says what a frame did. ``new`` are the unread rows that were never seen before, oldest first."""

    rows: tuple[Row, ...]
    deleted: tuple[int, ...]
    new: tuple[Row, ...]
    is_pull: bool = False
    recovered: bool = True


class Inbox:
    """Holds the rows that this device has heard of, by their ids, with position and counter."""

    def __init__(self, position: Position | None = None) -> None:
        self.rows: dict[int, Row] = {}
        #: None until something was loaded
        self.position = position
        #: None until the server has named it
        self.unread: int | None = None
        self._deleted: dict[int, int] = {}
        self._seen: set[int] = set()
        self._pull: dict[str, Any] | None = None

    def begin_connection(self) -> None:
        """Forgets the frames of a pull that was cut short: the next connection brings them again."""
        self._pull = None

    def apply(self, frame: Mapping[str, Any]) -> Applied | None:
        """Applies a frame. Returns what it did; None if there is nothing to do (yet). Raises GapFound."""
        match frame["type"]:
            case "missed_notifications":
                return self._apply_pull(frame)
            case "notification" | "updated" if self._follows(frame):
                applied = self._arrive(frame) if frame["type"] == "notification" else self._update(frame)
                assert self.position is not None
                self.position = Position(self.position.epoch, frame["offset"])
                self.unread = frame["unread"]
                return applied
            case _:
                return None

    def _follows(self, frame: Mapping[str, Any]) -> bool:
        if self.position is not None and frame["prev"] == self.position.offset:
            return True
        if self.position is None or frame["offset"] > self.position.offset:
            raise GapFound
        return False

    def _apply_pull(self, frame: Mapping[str, Any]) -> Applied | None:
        # Only its first frame has to say that everything is replaced, and only its last one has the position.
        if self._pull is None or (self._pull["recovered"] and not frame["recovered"]):
            self._pull = {"recovered": frame["recovered"], "items": []}
        self._pull["items"] += frame["items"]
        if "offset" not in frame:
            return None
        recovered, items = self._pull["recovered"], self._pull["items"]
        self._pull = None
        if not recovered:
            self.rows.clear()
            self._deleted.clear()
        applied = self._put_all(items)
        self.position = Position(frame["epoch"], frame["offset"])
        self.unread = frame["unread"]
        return applied._replace(is_pull=True, recovered=recovered)

    def _arrive(self, frame: Mapping[str, Any]) -> Applied:
        return self._put_all([frame["notification"]])

    def _put_all(self, items: Sequence[Mapping[str, Any]]) -> Applied:
        rows, deleted, new = list[Row](), list[int](), list[Row]()
        for item in items:
            if item.get("deleted"):
                if self._delete(item["id"], item["offset"]):
                    deleted.append(item["id"])
                continue
            row = row_of(item)
            is_new = row.unread and row.id not in self._seen
            self._see(row.id)
            if self._put(row):
                rows.append(row)
                if is_new:
                    new.append(row)
        return Applied(tuple(rows), tuple(deleted), tuple(new))

    def _put(self, row: Row) -> bool:
        known = self.rows.get(row.id)
        if max(self._deleted.get(row.id, -1), -1 if known is None else known.offset) >= row.offset:
            return False
        if row.partial and known is not None and not known.partial:
            # The server cuts long texts in a pull, but they never change, and they are known here.
            row = replace(row, body=known.body, data=known.data, metadata=known.metadata, partial=False)
        self.rows[row.id] = row
        if len(self.rows) > MOST_ROWS:
            self._forget_oldest()
        return True

    def _delete(self, id_: int, offset: int) -> bool:
        known = self.rows.get(id_)
        if known is not None and known.offset > offset:
            return False
        self._deleted[id_] = offset
        if len(self._deleted) > MOST_ROWS:
            newest = sorted(self._deleted.items(), key=lambda item: item[1])[-MOST_ROWS // 2 :]
            self._deleted = dict(newest)
        return self.rows.pop(id_, None) is not None

    def _update(self, frame: Mapping[str, Any]) -> Applied:
        offset, rows, deleted = frame["offset"], list[Row](), list[int]()
        for change in frame.get("items", ()):
            known = self.rows.get(change["id"])
            if change.get("deleted"):
                if self._delete(change["id"], offset):
                    deleted.append(change["id"])
            elif known is not None and known.offset < offset:
                read_at, archived_at = _time(change["read_at"]), _time(change["archived_at"])
                rows.append(replace(known, offset=offset, read_at=read_at, archived_at=archived_at))
        upto = frame.get("upto")
        if upto is not None:
            read_at = _time(frame.get("read_at")) or datetime.now(UTC)
            rows += [
                replace(row, offset=offset, read_at=read_at)
                for row in self.rows.values()
                if row.id <= upto and row.unread and row.offset < offset
            ]
        for row in rows:
            self.rows[row.id] = row
        return Applied(tuple(rows), tuple(deleted), ())

    def _see(self, id_: int) -> None:
        self._seen.add(id_)
        if len(self._seen) > 2 * MOST_ROWS:
            self._seen = set(sorted(self._seen)[-MOST_ROWS:])

    def _forget_oldest(self) -> None:
        for id_ in sorted(self.rows)[: len(self.rows) - MOST_ROWS // 2]:
            del self.rows[id_]


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
