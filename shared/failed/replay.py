"""Publishes failed messages again: each is confirmed first, and removed from failed.queue second.

``replay_of`` decides what a failed message is published as, or why it cannot be published. ``resend`` does it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.broker.browse import Taken
from shared.broker.publisher import Publication, Publisher
from shared.broker.topology import EXCHANGE
from shared.clock import rfc3339
from shared.errors import InvalidEnvelope, NotifyError, PublishFailed
from shared.failed.entry import FailedEntry
from shared.failed.results import FailedOutcome, SkippedMessage, SkipReason
from shared.message.envelope import parse_queued
from shared.message.headers import DeliveryState
from shared.settings.settings import Settings

#: messages that are published together; after a crash at most this many are both in their lane and in failed.queue
BATCH = 200


class CannotReplay(NotifyError):
    """It stays where it is. ``reason``: it cannot be read as an envelope of its channel, its queue is none of ours,
    or its ``expires_at`` has passed.
    """

    def __init__(self, reason: SkipReason, detail: str) -> None:
        self.reason: SkipReason = reason
        super().__init__(detail)


def replay_of(body: bytes, entry: FailedEntry, *, ignore_expiry: bool, now_ms: int) -> Publication:
    """A new life in the lane that it had: same bytes, same request_id, headers built anew. Raises CannotReplay."""
    if entry.lane is None:
        raise CannotReplay("unknown_queue", f"{entry.queue or 'its queue'} is none of ours")
    try:
        envelope = parse_queued(body, entry.lane.channel)
    except InvalidEnvelope as exc:
        raise CannotReplay("undecodable", f"{exc.reason}: {exc}") from exc
    if envelope.expires_at is not None and not ignore_expiry and envelope.expires_at.timestamp() * 1000 <= now_ms:
        raise CannotReplay("expired", f"expires_at was {envelope.expires_at.isoformat()}")
    state = DeliveryState(
        accepted_at=rfc3339(now_ms),
        # Above every earlier life's, or the claims would take it for a stale copy: also when our clock is behind.
        replay=max(now_ms, entry.state.replay + 1),
        ignore_expiry=ignore_expiry,
    )
    return Publication(EXCHANGE, entry.lane.routing_key, body, state.to_headers(), envelope.request_id)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A message that the operator means."""

    message: Taken
    entry: FailedEntry


async def resend(
    settings: Settings, ready: Sequence[tuple[Chosen, Publication]], within_s: float, done: FailedOutcome
) -> None:
    """Publish each and ack what is confirmed. After the first failure, or ``within_s``, no further batch is tried."""
    until = time.monotonic() + within_s
    failed = False
    async with _publisher(settings) as publisher:
        for at in range(0, len(ready), BATCH):
            batch = ready[at : at + BATCH]
            if failed or time.monotonic() > until:
                done.skipped += [_unconfirmed(each, "not tried: the broker takes no more") for each, _ in batch]
                continue
            outcomes = await publisher.publish_all([publication for _, publication in batch])
            for (each, _), outcome in zip(batch, outcomes, strict=True):
                failed |= not _settle(each, outcome, done)


def _settle(each: Chosen, outcome: PublishFailed | None, done: FailedOutcome) -> bool:
    # Only a confirm makes it safe to let go of it: an ack before would lose it with the next crash.
    if outcome is None:
        each.message.ack()
        done.done += 1
    else:
        done.skipped.append(_unconfirmed(each, str(outcome)))
    return outcome is None


@asynccontextmanager
async def _publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """On a connection of its own: an alarm stops those that publish, and what was taken must come back all the same."""
    publisher = Publisher(
        settings.broker.url,
        "failed.queue replay",
        levels_s=settings.broker.retry_levels_s,
        deadline_s=settings.broker.publish_deadline_s,
        max_pending=BATCH,
    )
    publisher.start()
    try:
        yield publisher
    finally:
        await publisher.close()


def _unconfirmed(each: Chosen, detail: str) -> SkippedMessage:
    return SkippedMessage(id=each.entry.id, reason="unconfirmed", detail=detail)
