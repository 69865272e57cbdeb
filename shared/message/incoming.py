"""A message as a worker gets it: what the broker delivered, and what its headers say of its life so far."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.clock import now_ms, parse_rfc3339
from shared.message.channels import Lane
from shared.message.headers import DeliveryState, read_state

# Together unique to a delivery: drawn once per process, then counted (a random name for each costs more than decoding).
_PROCESS = secrets.token_hex(8)
_DELIVERIES = itertools.count()


def _fresh_token() -> str:
    return f"{_PROCESS}-{next(_DELIVERIES):x}"


class Acks(Protocol):
    """The acknowledgements of one AMQP channel."""

    @property
    def is_open(self) -> bool:
        """Whether an ack still reaches the broker."""

    def ack(self, tag: int) -> None:
        """Tell the broker that the delivery with this tag is settled."""


@dataclass(slots=True, eq=False)
class Incoming:
    """One delivery. It belongs to the channel that brought it: on another, its tag means another message."""

    lane: Lane
    tag: int
    book: Acks
    body: bytes
    headers: dict[str, Any]
    redelivered: bool
    #: how often the broker has delivered it before and got it back unacked
    delivery_count: int
    message_id: str
    #: AMQP timestamp, milliseconds since the epoch, or None
    timestamp_ms: int | None
    #: monotonic time since which it is held by a paused worker, seconds
    held_since: float | None = None
    #: a paused worker has tried it, to see whether the cause is over
    probed: bool = False
    acked: bool = False
    #: the claim's token, unique to this delivery
    token: str = field(default_factory=_fresh_token)

    def renew_token(self) -> None:
        """Make it another delivery in the eyes of Redis: a request with the old token may still reach Redis later."""
        self.token = _fresh_token()

    @property
    def is_void(self) -> bool:
        """Its channel is gone: no ack reaches the broker, which delivers it again."""
        return not self.book.is_open

    def ack(self) -> None:
        """Tell the broker that it is settled; without effect if its channel is gone (it will come again)."""
        self.acked = True
        self.book.ack(self.tag)


@dataclass(slots=True)
class Received:
    """A delivery with its headers read. ``accepted_ms``: when its life began, milliseconds since the epoch."""

    incoming: Incoming
    state: DeliveryState
    accepted_ms: int

    @classmethod
    def read(cls, incoming: Incoming) -> Received:
        """Read the headers. A life begins at accepted-at, else at the AMQP timestamp, else now.

        It never begins in the future: a timestamp written in milliseconds instead of seconds would make it endless.
        """
        state = read_state(incoming.headers)
        accepted_ms = parse_rfc3339(state.accepted_at) if state.accepted_at else None
        now = now_ms()
        return cls(incoming, state, min(accepted_ms or incoming.timestamp_ms or now, now))
