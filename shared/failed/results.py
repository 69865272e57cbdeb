"""What operations on failed.queue answer. The gateway and ``./notify failed`` show these models as they are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.failed.entry import FailedEntry

#: why a message that was selected stays in failed.queue
SkipReason = Literal["undecodable", "unknown_queue", "expired", "unconfirmed"]


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FailedItem(_Result):
    """One failed message, without its content. Null where nothing is known."""

    id: Annotated[str, Field(description="for `ids`, and for `/failed/{id}`")]
    request_id: Annotated[str | None, Field(description="null if the body cannot be read")]
    channel: str | None
    lane: Annotated[str | None, Field(description="`high`, `medium` or `low`")]
    reason: str
    error: Annotated[str | None, Field(description="what the provider, or we, said last")]
    provider: str | None
    attempts: Annotated[int, Field(description="calls that reached a provider")]
    first_attempt_at: str | None
    failed_at: str | None
    queue: Annotated[str | None, Field(description="where it was when it failed")]
    body_bytes: int


class FailedList(_Result):
    """Oldest first."""

    items: list[FailedItem]
    scanned: Annotated[int, Field(description="messages looked at; at most 10 000, or 256 MB of them")]
    truncated: Annotated[bool, Field(description="there may be more than `items`: the limit, or a bound of the scan")]


class FailedMessage(FailedItem):
    """One failed message with what it holds."""

    envelope: Annotated[
        dict[str, Any] | None, Field(description="addresses masked unless `reveal=true`; null if it is no JSON object")
    ]


class SkippedMessage(_Result):
    """One that was meant and stays in `failed.queue`."""

    id: str
    reason: SkipReason
    detail: str


class FailedOutcome(_Result):
    """What became of the messages that were meant."""

    matched: Annotated[int, Field(description="messages meant")]
    done: Annotated[int, Field(description="out of `failed.queue` now; 0 in a dry run")]
    dry_run: bool
    skipped: Annotated[list[SkippedMessage], Field(description="those that are left where they are, and why")]
    truncated: Annotated[bool, Field(description="the queue holds more than one scan reaches: repeat")]


def item_of(entry: FailedEntry) -> FailedItem:
    """Return the entry as it is shown: times are RFC 3339."""
    return FailedItem(**_shown(entry))


def message_of(entry: FailedEntry, envelope: dict[str, Any] | None) -> FailedMessage:
    """Return the entry with what its message holds."""
    return FailedMessage(**_shown(entry), envelope=envelope)


def nothing_done(*, dry_run: bool) -> FailedOutcome:
    """Return the outcome of an operation that has only begun; the operation counts in it."""
    return FailedOutcome(matched=0, done=0, dry_run=dry_run, skipped=[], truncated=False)


def _shown(entry: FailedEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "request_id": entry.request_id,
        "channel": entry.lane.channel if entry.lane else None,
        "lane": entry.lane.priority if entry.lane else None,
        "reason": entry.reason,
        "error": entry.error or None,
        "provider": entry.provider or None,
        "attempts": entry.attempts,
        "first_attempt_at": entry.first_attempt_at or None,
        "failed_at": entry.failed_at or None,
        "queue": entry.queue or None,
        "body_bytes": entry.body_bytes,
    }
