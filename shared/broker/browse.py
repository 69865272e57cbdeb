"""Looks through a queue, for which AMQP has no operation: takes its messages, acks some, and requeues the rest.

A consumer takes the messages in rounds. The prefetch of a round is the number of messages wanted, so that the broker
never sends more than that. Each round uses a fresh consumer, because the prefetch of a running one cannot be changed.
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

#: most messages in the first round, when their size is not known yet, and in each later round
FIRST_ROUND, ROUND = 16, 512
#: most bytes in one round, provided that no message is larger than the largest one so far
ROUND_BYTES = 32 * 1024 * 1024
#: longest wait for the broker's answer to one method, seconds: a caller waits for our answer meanwhile
ANSWER_WITHIN_S = 3.0
#: a round ends if no message arrives for this long, seconds
STALLED_S = 2.0
#: longest wait until the queue shows the requeued messages, seconds
RETURNED_WITHIN_S = 10.0
POLL_S = 0.01

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Holds one message taken from the queue; it returns to its queue unless it is acked."""

    body: bytes
    headers: Mapping[str, Any]
    #: where it was published: the exchange, '' for the default one, and the routing key
    exchange: str
    routing_key: str
    #: AMQP timestamp, milliseconds since the epoch, or None
    timestamp_ms: int | None
    content_type: str | None
    content_encoding: str | None
    scan: Scan
    tag: int

    def ack(self) -> None:
        """Acknowledges the settled message, so that the broker forgets it."""
        self.scan.ack(self.tag)


class Scan:
    """Looks once through the messages that were ready in ``queue`` when ``take`` began.

    They do not come in order of age: messages that an earlier scan requeued come first, in an order that the broker
    has shuffled.
    """

    def __init__(self, channel: AmqpChannel, queue: str, *, most_messages: int, most_bytes: int, within_s: float):
        self._channel, self._queue = channel, queue
        self._most_messages, self._most_bytes, self._within_s = most_messages, most_bytes, within_s
        self._book = AckBook(channel)
        self._acked = 0
        self._largest = 0
        #: number of messages that were ready when the scan began
        self.waiting = 0
        #: number of messages, and of bytes, taken so far
        self.taken = 0
        self.taken_bytes = 0
        #: True if the queue held more than could be taken
        self.truncated = False

    async def take(self, visit: Callable[[Taken], bool]) -> None:
        """Passes each message to ``visit`` until it returns False, the queue is empty or a limit is reached.

        Raises ChannelGone if the broker is lost, TimeoutError if it does not answer.
        """
        until = asyncio.get_running_loop().time() + self._within_s
        # Messages that fail during this scan belong to the next one: count before the first message is taken.
        self.waiting = waiting = await self.ready()
        wanted = min(waiting, self._most_messages)
        while self.taken < wanted and self.taken_bytes < self._most_bytes:
            size = self._round_size(wanted - self.taken)
            arrived = await self._round(size, until)
            for message in arrived:
                if not visit(message):
                    return
            if len(arrived) < size:
                # The rest did not arrive in time, or another client has taken or purged it.
                self.truncated = await self.ready() > 0
                return
        self.truncated = self.taken < waiting

    async def ready(self) -> int:
        """Returns the number of ready messages; 0 if there is no such queue. Raises ChannelGone, TimeoutError."""
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
        """Requeues the messages that were not acked, and waits until the queue has them: the next scan needs them.

        Raises ChannelGone if the broker is lost (it then requeues all messages itself, except those whose last acks
        still reached it), and TimeoutError.
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
        # The queue handles the acks and this nack in order: once the messages are back, the acks have been handled.
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
        """Takes ``size`` messages; fewer if none arrives for STALLED_S seconds, or at ``until`` (loop time)."""
        channel, loop = self._channel, asyncio.get_running_loop()
        arrived: list[Taken] = []
        news = asyncio.Event()

        def deliver(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            arrived.append(self._taken(method, properties, body))
            news.set()

        await self._ask(channel.raw.basic_qos, prefetch_count=size)
        # Always use a fresh tag: to consume again with a used one closes the connection (541).
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
            exchange=method.exchange,
            routing_key=method.routing_key,
            timestamp_ms=int(properties.timestamp) * 1000 if properties.timestamp else None,
            content_type=properties.content_type,
            content_encoding=properties.content_encoding,
            scan=self,
            tag=method.delivery_tag,
        )
