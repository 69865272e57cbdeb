"""Translates the claims' records between the plain table and Redis: writes them for a test, reads them as the table."""

from __future__ import annotations

from shared.idempotency.claims import END
from tests.models.claim_table import Done, Passed, Record, Working
from tests.support.claims import LAPSED, RUNNING


def text_of(record: Record) -> str | None:
    """Returns the record as it is stored; a running lease ends far in the future."""
    match record:
        case Working():
            lease_end = LAPSED if record.lapsed else RUNNING
            return f"P:{record.token}:{lease_end}:{record.replay}:{record.attempt}:{record.body}"
        case Passed():
            return f"F:{record.n}:{record.replay}:{record.body}"
        case Done():
            return f"D:{record.body}:{record.outcome}"
    return None


def record_of(text: str | None, now_ms: int) -> Record:
    """Returns the record that ``text`` means at ``now_ms`` of Redis' clock."""
    if text is None:
        return None
    kind, rest = text.split(":", 1)
    if kind == "P":
        token, lease_end, replay, attempt, body = rest.split(":")
        return Working(token, int(replay), int(attempt), body, lapsed=int(lease_end) <= now_ms)
    if kind == "F":
        n, replay, body = rest.split(":")
        return Passed(END if n == END else int(n), int(replay), body)
    body, outcome = rest.split(":", 1)
    return Done(body, outcome)
