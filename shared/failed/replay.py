"""What a failed message is published as when it is sent again, or why it cannot be."""

from __future__ import annotations

from typing import Literal, get_args

from shared.broker.publisher import Publication
from shared.broker.topology import EXCHANGE
from shared.clock import rfc3339
from shared.errors import InvalidEnvelope, NotifyError
from shared.failed.entry import FailedEntry
from shared.message.envelope import parse_queued
from shared.message.headers import Travel

SkipReason = Literal["undecodable", "unknown_queue", "expired", "unconfirmed"]
SKIP_REASONS: tuple[str, ...] = get_args(SkipReason)


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
    travel = Travel(
        accepted_at=rfc3339(now_ms),
        # Above every earlier life's, or the claims would take it for a stale copy: also when our clock is behind.
        replay=max(now_ms, entry.travel.replay + 1),
        ignore_expiry=ignore_expiry,
    )
    return Publication(EXCHANGE, entry.lane.routing_key, body, travel.to_headers(), envelope.request_id)
