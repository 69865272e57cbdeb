"""What travels with a message to failed.queue."""

from __future__ import annotations

import hashlib
from typing import Any

from shared.broker.incoming import Incoming
from shared.clock import now_ms, rfc3339
from shared.message.headers import Travel, cut
from shared.message.outcome import Dead


def failed_headers(incoming: Incoming, travel: Travel, accepted_ms: int, outcome: Dead) -> dict[str, Any]:
    """Built anew; ``notify-failed-id`` is the same when the same outcome is handed on again, also after a crash."""
    headers: dict[str, Any] = {
        "notify-failed-id": _failed_id(incoming, travel, outcome),
        "notify-failed-reason": outcome.reason,
        "notify-failed-error": cut(outcome.error),
        "notify-failed-provider": outcome.provider,
        "notify-failed-attempts": travel.attempt + outcome.counted,
        "notify-failed-queue": incoming.lane.queue,
        "notify-failed-at": rfc3339(now_ms()),
        "notify-accepted-at": rfc3339(accepted_ms),
        "notify-replay": travel.replay,
    }
    if travel.first_attempt_at:
        headers["notify-first-attempt-at"] = travel.first_attempt_at
    return headers


def _failed_id(incoming: Incoming, travel: Travel, outcome: Dead) -> str:
    life = f"{incoming.message_id}|{incoming.lane.queue}|{travel.replay}|{travel.attempt}|{outcome.reason}|"
    return hashlib.sha256(life.encode() + incoming.body).hexdigest()[:32]
