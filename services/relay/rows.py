"""Makes the messages to publish from a row of the outbox."""

from __future__ import annotations

from typing import Any

import orjson

from shared.accept.candidate import Candidate, candidate_from
from shared.errors import InvalidEnvelope
from shared.message.envelope import MAX_BODY_BYTES
from shared.store.outbox import OutboxRow

#: longest error text in a row, characters
ERROR_CHARS = 1000
#: The columns whose names differ from the fields that they become, for error texts.
_COLUMNS = {
    "content.title": "title",
    "content.body": "message",
    "notification_type": "channel",
}


def candidate_of(row: OutboxRow, phone_region: str | None) -> Candidate:
    """Returns the notification of a row. Raises InvalidEnvelope; ``error_of`` is its text for the row."""
    if row.envelope_bytes is not None:
        return candidate_from(_given(row), phone_region)
    document: dict[str, Any] = {
        "request_id": row.request_id,
        "user_id": row.user_id,
        "notification_type": row.channel,
        "content": {"title": row.title, "body": row.message},
        "type": row.type,
        "priority": row.priority,
    }
    return candidate_from(document, phone_region)


def error_of(row: OutboxRow, invalid: InvalidEnvelope) -> str:
    """Returns what is wrong with a row, by its columns; it quotes no value."""
    columns = _COLUMNS if row.envelope_bytes is None else {}
    inside = "" if row.envelope_bytes is None else "envelope."
    texts = [f"{columns.get(field, inside + field)}: {why}" if field else why for field, why in invalid.problems]
    return "; ".join(texts)[:ERROR_CHARS]


def _given(row: OutboxRow) -> Any:
    """Returns the envelope of a row. Its own request_id goes before the column's, which always has one."""
    if row.envelope is None:
        too_large = f"the envelope takes {row.envelope_bytes} bytes; at most {MAX_BODY_BYTES} are allowed"
        raise InvalidEnvelope("too_large", [("", too_large)])
    document = orjson.loads(row.envelope)
    return {"request_id": row.request_id, **document} if isinstance(document, dict) else document
