"""Represents a message as a worker receives it: the broker's delivery, and the state that its headers carry."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.clock import now_ms, parse_rfc3339
from shared.message.channels import Lane
from shared.message.headers import DeliveryState, read_state

# Together they are unique to a delivery: one random part per process and a counter. A random name for each delivery
# would cost more than decoding it.
_PROCESS = secrets.token_hex(8)
_DELIVERIES = itertools.count()


def _fresh_token() -> str:
    return f"{_PROCESS}-{next(_DELIVERIES):x}"


class Acks(Protocol):
    """Sends the acknowledgements of one AMQP channel."""

    @property
    def is_open(self) -> bool:
        """Tells whether an ack still reaches the broker."""

    def ack(self, tag: int) -> None:
        """Tells the broker that the delivery with this tag is settled."""


@dataclass(slots=True, eq=False)
class Incoming:
    """Holds one delivery. It belongs to its AMQP channel: on another channel, its tag means another message."""

    lane: Lane
    tag: int
    book: Acks
    body: bytes
    headers: dict[str, Any]
    redelivered: bool
    #: How often the broker has delivered it before and got it back unacked.
    delivery_count: int
    message_id: str
    #: AMQP timestamp, milliseconds since the epoch, or None.
    timestamp_ms: int | None
    #: Monotonic time since which a paused worker holds it, seconds.
    held_since: float | None = None
    #: Whether a paused worker has tried it, to see whether the cause is over.
    probed: bool = False
    acked: bool = False
    #: The claim's token, unique to this delivery.
    token: str = field(default_factory=_fresh_token)

    def renew_token(self) -> None:
        """Draws a new claim token: Redis then treats late requests with the old token as another delivery's."""
        self.token = _fresh_token()

    @property
    def is_void(self) -> bool:
        """Tells whether its AMQP channel is closed: no ack reaches the broker then, which redelivers the message."""
        return not self.book.is_open

    def ack(self) -> None:
        """Tells the broker that it is settled; has no effect if its channel is closed (it will be redelivered)."""
        self.acked = True
        self.book.ack(self.tag)


@dataclass(slots=True)
class Received:
    """Holds a delivery and its parsed headers. ``accepted_ms``: start of its life, milliseconds since the epoch."""

    incoming: Incoming
    state: DeliveryState
    accepted_ms: int

    @classmethod
    def read(cls, incoming: Incoming) -> Received:
        """Reads the headers. A life begins at accepted-at, else at the AMQP timestamp, else now.

        It never begins in the future: a timestamp in milliseconds instead of seconds would make the life endless.
        """
        state = read_state(incoming.headers)
        accepted_ms = parse_rfc3339(state.accepted_at) if state.accepted_at else None
        now = now_ms()
        return cls(incoming, state, min(accepted_ms or incoming.timestamp_ms or now, now))
