"""One example of everything that an operator may ask of ``/failed`` or be told."""

from __future__ import annotations

from typing import Any

from gateway.http.errors import problem_for
from gateway.http.problem import Problem
from shared.errors import BrokerUnavailable, InvalidSelection, Locked

_ID = "5f0c6bd7c1f34f2f9a7b7c1d2e3f4a5b"

ITEM: dict[str, Any] = {
    "id": _ID,
    "request_id": "order-1027-shipped",
    "channel": "push",
    "lane": "high",
    "reason": "attempts_exhausted",
    "error": "fcm 503 UNAVAILABLE",
    "provider": "fcm",
    "attempts": 8,
    "first_attempt_at": "2030-01-01T12:00:00.123Z",
    "failed_at": "2030-01-01T13:07:31.456Z",
    "queue": "push.high.queue",
    "body_bytes": 214,
}
LIST = {"items": [ITEM], "scanned": 1, "truncated": False}
MESSAGE = {
    **ITEM,
    "envelope": {
        "request_id": "order-1027-shipped",
        "notification_type": "push",
        "recipient": {"push_tokens": ["***f7"]},
        "template_code": "PRODUCT_UPDATE",
        "variables": {"name": "Ada", "link": "https://example.com/orders/1027"},
        "priority": "high",
    },
}

BY_REASON = {"channel": "push", "reason": "attempts_exhausted"}
BY_ID = {"ids": [_ID], "ignore_expiry": True}
OLD = {"older_than": "30d", "reason": "recipient_invalid"}
DRY_RUN = {"all": True, "dry_run": True}

REPLAYED = {
    "matched": 3,
    "done": 2,
    "dry_run": False,
    "skipped": [{"id": _ID, "reason": "expired", "detail": "expires_at was 2030-01-01T12:00:00+00:00"}],
    "truncated": False,
}
DISCARDED = {"matched": 3, "done": 3, "dry_run": False, "skipped": [], "truncated": False}

MISSING = Problem(404, f"no failed message {_ID} among those scanned")
LOCKED = problem_for(Locked())
UNCLEAR = problem_for(
    InvalidSelection([("older_than", "must be a whole number and its unit, as in 90s, 15m, 2h or 3d")])
)
AWAY = problem_for(BrokerUnavailable())
