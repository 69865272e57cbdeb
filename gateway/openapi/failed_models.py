"""The answers of ``/failed`` as models: what the document says of them, and what tests hold the routes to."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from shared.failed.results import SkipReason


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FailedItem(_Answer):
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


class FailedList(_Answer):
    """Oldest first."""

    items: list[FailedItem]
    scanned: Annotated[int, Field(description="messages looked at; at most 10 000, or 256 MB of them")]
    truncated: Annotated[bool, Field(description="there may be more than `items`: the limit, or a bound of the scan")]


class FailedMessage(FailedItem):
    """One failed message with what it holds."""

    envelope: Annotated[
        dict[str, Any] | None, Field(description="addresses masked unless `reveal=true`; null if it is no JSON object")
    ]


class SkippedMessage(_Answer):
    """One that was meant and stays in `failed.queue`."""

    id: str
    reason: SkipReason
    detail: str


class FailedOutcome(_Answer):
    """What became of the messages that were meant."""

    matched: Annotated[int, Field(description="messages meant")]
    done: Annotated[int, Field(description="out of `failed.queue` now; 0 in a dry run")]
    dry_run: bool
    skipped: Annotated[list[SkippedMessage], Field(description="those that are left where they are, and why")]
    truncated: Annotated[bool, Field(description="the queue holds more than one scan reaches: repeat")]
