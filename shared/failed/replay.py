"""Publishes failed messages again, and removes each from failed.queue only after its confirm.

``replay_of`` builds the message to publish, or says why there is none. ``resend`` publishes.
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
from shared.message.channels import CHANNELS, Lane
from shared.message.envelope import Envelope, check_queued, decode_queued, parse_queued, validate_envelope
from shared.message.headers import DeliveryState
from shared.settings.settings import Settings

#: Number of messages published together; after a crash at most this many are both in their lane and in failed.queue.
BATCH = 200


class CannotReplay(NotifyError):
    """Says why a message cannot be replayed; it stays in failed.queue.

    ``reason``: it cannot be read as an envelope of its channel, its queue belongs to no lane, or its ``expires_at``
    has passed.
    """

    def __init__(self, reason: SkipReason, detail: str) -> None:
        self.reason: SkipReason = reason
        super().__init__(detail)


def replay_of(body: bytes, entry: FailedEntry, *, ignore_expiry: bool, now_ms: int) -> Publication:
    """Returns the message of a new life in its former lane: same bytes, request_id and client, new headers.

    Raises CannotReplay.
    """
    if entry.lane is None and entry.reason != "unroutable":
        raise CannotReplay("unknown_queue", f"{entry.queue or 'its queue'} is no lane's queue")
    try:
        envelope = _own_channel(body) if entry.lane is None else parse_queued(body, entry.lane.channel)
    except InvalidEnvelope as exc:
        raise CannotReplay("undecodable", f"{exc.reason}: {exc}") from exc
    # A message whose routing key was wrong goes to the lane that its body names.
    lane = entry.lane or Lane(envelope.targets[0], envelope.lane_priority)
    if envelope.expires_at is not None and not ignore_expiry and envelope.expires_at.timestamp() * 1000 <= now_ms:
        raise CannotReplay("expired", f"expires_at was {envelope.expires_at.isoformat()}")
    state = DeliveryState(
        accepted_at=rfc3339(now_ms),
        # It must exceed the number of every earlier life, even if this clock is behind: else the claims would treat
        # the message as a stale copy.
        replay=max(now_ms, entry.state.replay + 1),
        ignore_expiry=ignore_expiry,
        client=entry.client,
    )
    return Publication(EXCHANGE, lane.routing_key, body, state.to_headers(), envelope.request_id)


def _own_channel(body: bytes) -> Envelope:
    """Parses a body that may belong to any channel. Raises InvalidEnvelope."""
    document = decode_queued(body)
    targets = validate_envelope(document, extra="ignore").targets
    if len(targets) != 1 or targets[0] not in CHANNELS:
        raise InvalidEnvelope("wrong_channel", [("notification_type", f"must be one of {', '.join(CHANNELS)}")])
    return check_queued(document, targets[0])


@dataclass(frozen=True, slots=True)
class Chosen:
    """Holds a message that the operator selected."""

    message: Taken
    entry: FailedEntry


async def resend(
    settings: Settings, ready: Sequence[tuple[Chosen, Publication]], within_s: float, done: FailedOutcome
) -> None:
    """Publishes each message and acks the confirmed ones in failed.queue.

    After the first failure, or after ``within_s`` seconds, it tries no further batch.
    """
    until = time.monotonic() + within_s
    failed = False
    async with _publisher(settings) as publisher:
        for at in range(0, len(ready), BATCH):
            batch = ready[at : at + BATCH]
            if failed or time.monotonic() > until:
                done.skipped += [
                    _unconfirmed(each, "not tried: earlier messages were not confirmed in time; replay it again")
                    for each, _ in batch
                ]
                continue
            outcomes = await publisher.publish_all([publication for _, publication in batch])
            for (each, _), outcome in zip(batch, outcomes, strict=True):
                failed |= not _settle(each, outcome, done)


def _settle(each: Chosen, outcome: PublishFailed | None, done: FailedOutcome) -> bool:
    # Only a confirm makes it safe to ack: with an earlier ack, the next crash would lose the message.
    if outcome is None:
        each.message.ack()
        done.done += 1
    else:
        done.skipped.append(_unconfirmed(each, str(outcome)))
    return outcome is None


@asynccontextmanager
async def _publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """Opens a publisher on its own connection.

    A resource alarm blocks connections that publish, and the messages taken on the other one must still be requeued.
    """
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
