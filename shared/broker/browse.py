"""Looking through a queue, which AMQP has no word for: take its messages, ack some, give the rest back.

Messages are taken by a consumer in rounds. A round's prefetch is the number of messages wanted, so that the broker
never has more under way than that; each round is a fresh consumer, since a living one's prefetch cannot be changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog

from shared.broker.channel import AmqpChannel, ChannelGone
from shared.broker.incoming import AckBook
from shared.broker.queue_depth import BELIEVED_WITHIN_S

log = structlog.get_logger(__name__)

#: messages in the first round, when nothing is known of their size, and in any later one
FIRST_ROUND, ROUND = 16, 512
#: what one round may bring if its messages are no larger than the largest so far, bytes
ROUND_BYTES = 32 * 1024 * 1024
#: longest wait for the broker's answer to one method: somebody waits for ours, seconds
ANSWER_WITHIN_S = 3.0
#: a round into which nothing came for so long has ended, seconds
STALLED_S = 2.0
#: longest wait for the queue to show what was given back, seconds
RETURNED_WITHIN_S = 10.0
POLL_S = 0.01

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A message in hand; it returns to its queue unless it is acked."""

    body: bytes
    headers: Mapping[str, Any]
    routing_key: str
    #: AMQP timestamp, milliseconds since the epoch, or None
    timestamp_ms: int | None
    scan: Scan
    tag: int

    def ack(self) -> None:
        """It is settled: let the broker forget it."""
        self.scan.ack(self.tag)


class Scan:
    """One look through ``queue``, over what was ready in it when ``take`` began.

    Not in order of age: what an earlier scan gave back comes first, shuffled by the broker.
    """

    def __init__(self, channel: AmqpChannel, queue: str, *, most_messages: int, most_bytes: int, within_s: float):
        self._channel, self._queue = channel, queue
        self._most_messages, self._most_bytes, self._within_s = most_messages, most_bytes, within_s
        self._book = AckBook(channel)
        self._acked = 0
        self._largest = 0
        #: messages and bytes taken so far
        self.taken = 0
        self.taken_bytes = 0
        #: there was more than could be taken
        self.truncated = False

    async def take(self, visit: Callable[[Taken], bool]) -> None:
        """Show every message to ``visit`` until it returns False, the queue ends or a bound is reached.

        Raises ChannelGone if the broker went away, TimeoutError if it does not answer.
        """
        until = asyncio.get_running_loop().time() + self._within_s
        # Those that fail while we look belong to the next look: the number is known before the first is taken.
        waiting = await self.ready()
        wanted = min(waiting, self._most_messages)
        while self.taken < wanted and self.taken_bytes < self._most_bytes:
            size = self._round_size(wanted - self.taken)
            arrived = await self._round(size, until)
            for message in arrived:
                if not visit(message):
                    return
            if len(arrived) < size:
                # Not in time, or somebody else took or purged the rest.
                self.truncated = await self.ready() > 0
                return
        self.truncated = self.taken < waiting

    async def ready(self) -> int:
        """Messages ready in the queue; 0 if there is no such queue. Raises ChannelGone, TimeoutError."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                asked_at = loop.time()
                answer = await self._ask(self._channel.raw.queue_declare, queue=self._queue, passive=True)
                count = int(answer.method.message_count)
                # A queue without a leader answers 0 after 250 ms; an empty one answers at once.
                if count or loop.time() - asked_at < BELIEVED_WITHIN_S:
                    return count
        except ChannelGone as exc:
            if exc.code != _NOT_FOUND:
                raise
            log.warning("queue_missing", queue=self._queue)
            return 0

    def ack(self, tag: int) -> None:
        self._acked += 1
        self._book.ack(tag)

    async def give_back(self) -> None:
        """Return what was not acked, and wait until the queue has it again: the next operator must not miss it.

        Raises ChannelGone if the broker went away (then it has everything back, acks of the last moment apart),
        TimeoutError.
        """
        kept = self.taken - self._acked
        self._book.flush()
        if not self._channel.is_open:
            if self.taken:
                raise self._channel.gone or ChannelGone(0, "channel is closing")
            return
        expected = await self.ready() + kept
        if kept:
            self._channel.raw.basic_nack(0, multiple=True, requeue=True)
        # The queue works through the acks and this in order: seeing them returned means that the acks are through.
        deadline = asyncio.get_running_loop().time() + RETURNED_WITHIN_S
        while await self.ready() < expected:
            if asyncio.get_running_loop().time() > deadline:
                log.warning("messages_slow_to_return", queue=self._queue, expected=expected)
                return
            await asyncio.sleep(POLL_S)

    def _round_size(self, wanted: int) -> int:
        if not self._largest:
            return min(FIRST_ROUND, wanted)
        bytes_left = min(ROUND_BYTES, self._most_bytes - self.taken_bytes)
        return max(1, min(ROUND, wanted, bytes_left // self._largest))

    async def _round(self, size: int, until: float) -> list[Taken]:
        """Take ``size`` messages; fewer if nothing came for STALLED_S, or at ``until`` (loop time)."""
        channel, loop = self._channel, asyncio.get_running_loop()
        arrived: list[Taken] = []
        news = asyncio.Event()

        def deliver(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            arrived.append(self._taken(method, properties, body))
            news.set()

        await self._ask(channel.raw.basic_qos, prefetch_count=size)
        # Always a fresh tag: consuming again with one that was used before closes the connection (541).
        tag = f"scan-{uuid4().hex}"
        await self._ask(channel.raw.basic_consume, queue=self._queue, on_message_callback=deliver, consumer_tag=tag)
        try:
            while len(arrived) < size and channel.is_open:
                news.clear()
                async with asyncio.timeout_at(min(until, loop.time() + STALLED_S)):
                    await news.wait()
        except TimeoutError:
            log.info("scan_round_incomplete", queue=self._queue, wanted=size, arrived=len(arrived))
        await self._ask(channel.raw.basic_cancel, consumer_tag=tag)
        return arrived

    async def _ask(self, method: Callable[..., Any], /, **arguments: Any) -> Any:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await self._channel.call(method, **arguments)

    def _taken(self, method: Any, properties: Any, body: bytes) -> Taken:
        self.taken += 1
        self.taken_bytes += len(body)
        self._largest = max(self._largest, len(body), 1)
        return Taken(
            body=body,
            headers=properties.headers or {},
            routing_key=method.routing_key,
            timestamp_ms=int(properties.timestamp) * 1000 if properties.timestamp else None,
            scan=self,
            tag=method.delivery_tag,
        )
