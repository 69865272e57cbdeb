"""One message on its way into the broker, and what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to be stored. ``correlation_id`` is the request_id; ``headers`` are built anew by the caller."""

    exchange: str
    routing_key: str
    body: bytes
    headers: dict[str, Any]
    correlation_id: str = ""


class Fate(Enum):
    """What the broker said of it; LOST: nothing, and it will not any more."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    LOST = "lost"


@dataclass(slots=True)
class Pending:
    """Sent, and not yet confirmed. A returned message is confirmed too: its return comes first."""

    fate: asyncio.Future[Fate]
    message_id: str
    returned: bool = False
