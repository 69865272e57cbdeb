"""Gathers the acknowledgements of one AMQP channel and writes them in few frames."""

from __future__ import annotations

import asyncio

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
        self._scheduled = False

    @property
    def is_open(self) -> bool:
        return self._channel.is_open

    def ack(self, tag: int) -> None:
        self._fresh.add(tag)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def skip(self, tag: int) -> None:
        """Takes note of a tag that was rejected: it must not interrupt the run of acked tags for ever."""
        self._acked.add(tag)

    def flush(self) -> None:
        """Writes the gathered acks: one ``multiple`` ack for the unbroken run above the floor, then single acks."""
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
            # The broker refuses a tag that was acked before, so the frame names the last tag that is still unacked.
            self._channel.raw.basic_ack(last_fresh, multiple=True)
        for tag in fresh:
            self._channel.raw.basic_ack(tag)
        self._acked |= fresh
