"""What the broker delivers, and the acknowledgements of one channel."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from dataclasses import dataclass, field
from typing import Any

from shared.broker.channel import AmqpChannel
from shared.message.channels import Lane

# Together unique to a delivery: drawn once a process, then counted (a random name each costs more than decoding one).
_PROCESS = secrets.token_hex(8)
_DELIVERIES = itertools.count()


def _fresh_token() -> str:
    return f"{_PROCESS}-{next(_DELIVERIES):x}"


@dataclass(slots=True, eq=False)
class Incoming:
    """One delivery. It belongs to the channel that brought it: on another, its tag means another message."""

    lane: Lane
    tag: int
    book: AckBook
    body: bytes
    headers: dict[str, Any]
    redelivered: bool
    #: how often the broker has given it out before and got it back unacked
    delivery_count: int
    message_id: str
    #: AMQP timestamp, milliseconds since the epoch, or None
    timestamp_ms: int | None
    #: monotonic time since which it is held by a paused worker, seconds
    held_since: float | None = None
    #: a paused worker has tried it, to see whether the cause is over
    probed: bool = False
    #: the claim's token, unique to this delivery
    token: str = field(default_factory=_fresh_token)

    def renew_token(self) -> None:
        """From now on another delivery to the store: what was asked with the old token may reach it yet."""
        self.token = _fresh_token()

    @property
    def is_void(self) -> bool:
        """Its channel is gone: no ack reaches the broker, which gives it out again."""
        return not self.book.is_open

    def ack(self) -> None:
        """Tell the broker that it is settled; without effect if its channel is gone (it will come again)."""
        self.book.ack(self.tag)


class AckBook:
    """Acks of one channel, written once a loop turn, as few frames as their order allows."""

    def __init__(self, channel: AmqpChannel) -> None:
        self._channel = channel
        self._floor = 0  # every tag up to here is acked
        self._acked: set[int] = set()  # acked one by one, above the floor
        self._fresh: set[int] = set()
        self._scheduled = False

    @property
    def is_open(self) -> bool:
        return self._channel.is_open

    def ack(self, tag: int) -> None:
        self._fresh.add(tag)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what has gathered: one ``multiple`` ack for the unbroken run from the floor, single ones above."""
        self._scheduled = False
        fresh, self._fresh = self._fresh, set()
        if not self._channel.is_open:
            return
        top = self._floor
        last_fresh = 0
        while (tag := top + 1) in fresh or tag in self._acked:
            if tag in fresh:
                fresh.discard(tag)
                last_fresh = tag
            else:
                self._acked.discard(tag)
            top = tag
        self._floor = top
        if last_fresh:
            # The broker refuses an unknown tag, so a run ends at one that is still outstanding.
            self._channel.raw.basic_ack(last_fresh, multiple=True)
        for tag in fresh:
            self._channel.raw.basic_ack(tag)
        self._acked |= fresh
