"""Represents a message as a worker receives it: the broker's delivery, and the state that its headers carry."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.clock import now_ms, parse_rfc3339
from shared.message.channels import Lane
from shared.message.headers import DeliveryState, read_state

# Together they are unique to a delivery: one random part per process and a counter. A random name for each delivery
# would cost more than decoding it.
_process = ""
_DELIVERIES = itertools.count()


def _name_process() -> None:
    global _process
    _process = secrets.token_hex(8)


_name_process()
# A forked process inherits both parts. If it kept them, its deliveries would hold the claims of its siblings.
os.register_at_fork(after_in_child=_name_process)


def _fresh_token() -> str:
    return f"{_process}-{next(_DELIVERIES):x}"


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
    #: Whether this delivery has held a claim: Redis had a record of its message then.
    claimed: bool = False
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
    """Holds a delivery and its parsed headers. ``clock_ms`` tells the time, milliseconds since the epoch."""

    incoming: Incoming
    state: DeliveryState
    clock_ms: Callable[[], int]
    #: The start of its life as the message states it, milliseconds since the epoch, or None.
    stated_ms: int | None
    _accepted_ms: int | None = None

    @classmethod
    def read(cls, incoming: Incoming, clock_ms: Callable[[], int] = now_ms) -> Received:
        """Reads the headers. A life begins at accepted-at, else at the AMQP timestamp, else now."""
        state = read_state(incoming.headers)
        stated_ms = (parse_rfc3339(state.accepted_at) if state.accepted_at else None) or incoming.timestamp_ms
        return cls(incoming, state, clock_ms, stated_ms)

    @property
    def accepted_ms(self) -> int:
        """Returns the start of its life, milliseconds since the epoch."""
        return self.set_life(self.clock_ms()) if self._accepted_ms is None else self._accepted_ms

    def set_life(self, at_ms: int) -> int:
        """Decides when the life began, at the time ``at_ms``, and returns it.

        It never begins in the future: a timestamp in milliseconds instead of seconds would make the life endless.
        """
        self._accepted_ms = accepted_ms = min(self.stated_ms or at_ms, at_ms)
        return accepted_ms

    @property
    def was_recorded(self) -> bool:
        """Tells whether an earlier delivery of this message must have left a record in Redis.

        A redelivery counts too: nothing tells whether its first delivery was begun.
        """
        state = self.state
        return (
            self.incoming.redelivered
            or state.attempt > 0
            or state.replay > 0
            or state.redeliveries > 0
            or (state.deferrals > 0 and not state.unclaimed)
        )
