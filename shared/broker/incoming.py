"""Gathers the acknowledgements of one AMQP channel and writes them in few frames."""

from __future__ import annotations

import asyncio
import math
import time

from shared.broker.channel import AmqpChannel
from shared.message.incoming import Incoming

__all__ = ["AckBook", "Incoming"]


class AckBook:
    """Writes the acks of one channel once per turn of the event loop, in as few frames as their order allows."""

    def __init__(self, channel: AmqpChannel) -> None:
        self._channel = channel
        self._floor = 0  # every tag up to here is acked
        self._acked: set[int] = set()  # tags above the floor that were acked one by one
        self._fresh: set[int] = set()
        self._scheduled = self._held_back = False
        self._newest = 0
        self._changed_at = -math.inf

    @property
    def is_open(self) -> bool:
        return self._channel.is_open

    @property
    def unacked(self) -> int:
        """Returns the number of deliveries for which no ack has been written."""
        return self._newest - self._floor - len(self._acked)

    @property
    def quiet_s(self) -> float:
        """Returns for how long nothing has been delivered and no ack has been written, seconds."""
        return time.monotonic() - self._changed_at

    def delivered(self, tag: int) -> None:
        """Takes note of a delivery; the tags of a channel rise."""
        self._newest = tag
        self._changed_at = time.monotonic()

    def hold_back(self) -> None:
        """Writes no ack until ``flush``. Each ack lets the broker deliver one more message."""
        self._held_back = True

    def ack(self, tag: int) -> None:
        self._fresh.add(tag)
        if not self._scheduled and not self._held_back:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush_unless_held_back)

    def _flush_unless_held_back(self) -> None:
        if not self._held_back:
            self.flush()

    def skip(self, tag: int) -> None:
        """Records that a tag was rejected. It counts as acked, so that the run of acked tags can grow beyond it."""
        self._acked.add(tag)

    def flush(self) -> None:
        """Writes the gathered acks: one ``multiple`` ack for the unbroken run above the floor, then single acks."""
        self._scheduled = self._held_back = False
        self._changed_at = time.monotonic()
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
            # The broker refuses a tag that was acked before, so the frame names the last tag that is still unacked.
            self._channel.raw.basic_ack(last_fresh, multiple=True)
        for tag in fresh:
            self._channel.raw.basic_ack(tag)
        self._acked |= fresh
