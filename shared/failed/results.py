"""What an operation on failed.queue answers; ``document`` is the shape that both faces show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.failed.entry import FailedEntry

#: why a message that was selected stays in failed.queue
SkipReason = Literal["undecodable", "unknown_queue", "expired", "unconfirmed"]


@dataclass(frozen=True, slots=True)
class Listed:
    """``truncated``: there may be more than ``entries``, beyond the limit or beyond what was ``scanned``."""

    entries: Sequence[FailedEntry]
    scanned: int
    truncated: bool

    def document(self) -> dict[str, Any]:
        return {
            "items": [entry.document() for entry in self.entries],
            "scanned": self.scanned,
            "truncated": self.truncated,
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """``envelope``: what the body holds, addresses masked unless asked for; None if it is no JSON object."""

    entry: FailedEntry
    envelope: dict[str, Any] | None

    def document(self) -> dict[str, Any]:
        return {**self.entry.document(), "envelope": self.envelope}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message that was meant and stays where it is."""

    id: str
    reason: SkipReason
    detail: str


@dataclass(slots=True)
class Done:
    """``matched`` messages were meant; ``done`` of them are out of failed.queue, and why the others are not is in
    ``skipped``. ``truncated``: the queue holds more than was looked at.
    """

    dry_run: bool
    matched: int = 0
    done: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    truncated: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "matched": self.matched,
            "done": self.done,
            "dry_run": self.dry_run,
            "skipped": [{"id": each.id, "reason": each.reason, "detail": each.detail} for each in self.skipped],
            "truncated": self.truncated,
        }
