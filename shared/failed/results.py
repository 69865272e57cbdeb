"""Defines the results of operations on failed.queue. The gateway and ``./notify failed`` show them unchanged."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.failed.entry import FailedEntry

#: Why a selected message stays in failed.queue.
SkipReason = Literal["undecodable", "unknown_queue", "expired", "unconfirmed"]


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FailedItem(_Result):
    """Describes one failed message without its content. A field is null where nothing is known."""

    id: Annotated[str, Field(description="The id to use in `ids` and in `/failed/{id}`.")]
    request_id: Annotated[str | None, Field(description="Null if the body cannot be read.")]
    client: Annotated[
        str | None,
        Field(
            description="The client that sent it; absent if the message names none.",
            exclude_if=lambda client: client is None,
        ),
    ] = None
    channel: str | None
    lane: Annotated[str | None, Field(description="`high`, `medium` or `low`.")]
    reason: str
    error: Annotated[str | None, Field(description="The last error text, from the provider or from this system.")]
    provider: str | None
    attempts: Annotated[int, Field(description="Number of calls that reached a provider.")]
    first_attempt_at: str | None
    failed_at: str | None
    queue: Annotated[str | None, Field(description="The queue that it was in when it failed.")]
    body_bytes: int


class FailedList(_Result):
    """Lists failed messages, oldest first."""

    items: list[FailedItem]
    scanned: Annotated[
        int,
        Field(
            description="Number of messages scanned: at most 10 000, or 256 MB of them. With `request_id` it is all of"
            " them, or as many as 30 s allow."
        ),
    ]
    waiting: Annotated[int, Field(description="Number of messages in `failed.queue` when the scan began.")]
    matched: Annotated[int, Field(description="Number of scanned messages that match, also those beyond `limit`.")]
    reasons: Annotated[dict[str, int], Field(description="Number of matching messages by reason.")]
    truncated: Annotated[
        bool, Field(description="True if there may be more than `items`: `limit` or a bound of the scan was reached.")
    ]


class UnreadableBody(_Result):
    """Shows what was published instead of an envelope: enough to find the publisher and its mistake."""

    content_type: str | None
    content_encoding: str | None
    headers: Annotated[
        dict[str, str], Field(description="The AMQP headers, each value as text of up to 256 characters.")
    ]
    text: Annotated[
        str,
        Field(
            description="The first 64 KiB of the body; bytes that are no printable text are escapes such as `\\x1f`."
            " Without `reveal=true` whatever looks like an address is masked, and of a body that is no text only the"
            " first 16 bytes are shown."
        ),
    ]
    complete: Annotated[bool, Field(description="True if `text` shows the whole body.")]


class FailedMessage(FailedItem):
    """Describes one failed message with its content."""

    envelope: Annotated[
        dict[str, Any] | None,
        Field(
            description="Addresses are masked unless `reveal=true`. Null if the body is no JSON object, or is nested"
            " deeper than 32 levels."
        ),
    ]
    unreadable: Annotated[UnreadableBody | None, Field(description="The body, if it is no envelope; else null.")]


class SkippedMessage(_Result):
    """Describes a selected message that stays in `failed.queue`."""

    id: str
    reason: SkipReason
    detail: str


class FailedOutcome(_Result):
    """Says what an operation did with the selected messages."""

    matched: Annotated[int, Field(description="Number of messages selected.")]
    done: Annotated[int, Field(description="Number of messages removed from `failed.queue`; 0 in a dry run.")]
    dry_run: bool
    skipped: Annotated[list[SkippedMessage], Field(description="The selected messages that stay, and why.")]
    missing: Annotated[list[str], Field(description="The given ids, or the `request_id`, that no scanned message has.")]
    truncated: Annotated[
        bool, Field(description="True if the queue holds more than one scan reaches: repeat the request.")
    ]


def item_of(entry: FailedEntry) -> FailedItem:
    """Returns the entry as it is shown: times are RFC 3339."""
    return FailedItem(**_shown(entry))


def message_of(
    entry: FailedEntry, envelope: dict[str, Any] | None, unreadable: UnreadableBody | None = None
) -> FailedMessage:
    """Returns the entry with the content of its message: the envelope, or what was published instead."""
    return FailedMessage(**_shown(entry), envelope=envelope, unreadable=unreadable)


def nothing_done(*, dry_run: bool) -> FailedOutcome:
    """Returns the result of an operation that has just begun; the operation counts in it."""
    return FailedOutcome(matched=0, done=0, dry_run=dry_run, skipped=[], missing=[], truncated=False)


def _shown(entry: FailedEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "request_id": entry.request_id,
        "client": entry.client or None,
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
