"""Consumes lanes over one connection, with one AMQP channel per lane, and writes the acks that the worker asks for.

It knows lanes, tags and prefetch, but not what a message means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import structlog
from pika.exceptions import AMQPError

from shared.broker import topology
from shared.broker.channel import AmqpChannel, ChannelGone
from shared.broker.connection import Connection, State
from shared.broker.declaration import Declaration
from shared.broker.incoming import AckBook, Incoming
from shared.message.channels import Lane
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

#: A delivery that follows an ack or the start of a consumer has arrived after this time, seconds.
QUIET_S = 0.5
_LOOK_EVERY_S = 0.005


class _LaneChannel:
    """Keeps a lane's channel, its acks and its present consumer tag."""

    def __init__(self, lane: Lane, channel: AmqpChannel) -> None:
        self.lane = lane
        self.channel = channel
        self.book = AckBook(channel)
        self.consumer_tag: str | None = None
        self.prefetch = 0

    async def settle(self) -> None:
        """Waits until no delivery is on its way: the prefetch is used up, or nothing has happened for QUIET_S."""
        while self.channel.is_open and self.book.unacked < self.prefetch:
            left_s = QUIET_S - self.book.quiet_s
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, _LOOK_EVERY_S))

    def incoming(self, method: Any, properties: Any, body: bytes) -> Incoming:
        self.book.delivered(method.delivery_tag)
        headers: dict[str, Any] = properties.headers or {}
        return Incoming(
            lane=self.lane,
            tag=method.delivery_tag,
            book=self.book,
            body=body,
            headers=headers,
            redelivered=method.redelivered,
            delivery_count=_delivery_count(headers) if method.redelivered else 0,
            message_id=properties.message_id or "",
            timestamp_ms=int(properties.timestamp) * 1000 if properties.timestamp else None,
        )


def _delivery_count(headers: Mapping[str, Any]) -> int:
    """Returns the broker's count of a redelivered message.

    With a first delivery to a consumer the broker writes no count, so one that is there was copied by the publisher.
    With a redelivery it replaces every other one, by a number up to its limit (measured on RabbitMQ 3.10.8).
    """
    count = headers.get("x-delivery-count")
    return min(max(0, int(count)), topology.DELIVERY_LIMIT) if isinstance(count, int) else 0


class Consumer:
    """Passes each message of a consumed lane to ``on_delivery``, and each loss to ``on_trouble``.

    ``on_trouble`` gets the lane whose consumer was lost (``declare`` and ``consume`` it again), or None if the
    connection and all lanes were lost (begin again with ``wait_up``). It is not called for a close of our own.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        lanes: Sequence[Lane],
        levels_s: Sequence[float],
        on_delivery: Callable[[Incoming], None],
        on_trouble: Callable[[Lane | None], None],
        metrics: Metrics | None = None,
    ) -> None:
        self._on_delivery = on_delivery
        self._on_trouble = on_trouble
        self._open: dict[Lane, _LaneChannel] = {}
        metrics = metrics or Metrics()
        self._connection = Connection(
            url, name, use="consume", metrics=metrics, declare=self.declare, on_lost=self._connection_lost
        )
        channels = sorted({lane.channel for lane in lanes})
        self._declaration = Declaration(self._connection, levels_s, channels, metrics)

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def state(self) -> State:
        return self._connection.state

    def start(self) -> None:
        """Starts to connect in the background, and returns at once."""
        self._connection.start()

    async def wait_up(self) -> None:
        """Returns once connected; the first time the topology is declared by then."""
        await self._connection.wait_up()

    async def close(self) -> None:
        """Flushes the acks and closes the connection; unacked messages return to their queues."""
        channels, self._open = list(self._open.values()), {}
        for lane_channel in channels:
            lane_channel.book.flush()
        await self._connection.close()

    async def declare(self) -> None:
        """Declares the topology of these lanes, on separate channels. Raises as ``Declaration.declare``."""
        await self._declaration.declare()

    async def get(self, lane: Lane) -> Incoming | None:
        """Takes one message; returns None if the lane is empty. Raises ChannelGone, TimeoutError."""
        lane_channel = await self._lane_channel(lane)
        answer = await lane_channel.channel.get(lane.queue, lane_channel.book.skip)
        return None if answer is None else lane_channel.incoming(*answer)

    async def consume(self, prefetch: Mapping[Lane, int]) -> None:
        """Starts to consume each lane with its prefetch (most unacked messages). Raises ChannelGone, TimeoutError.

        A lane that is consumed already is cancelled first: the prefetch of a running consumer cannot be changed.
        """
        for lane, count in prefetch.items():
            lane_channel = await self._lane_channel(lane)
            await self._cancel(lane_channel)
            channel = lane_channel.channel
            await channel.call(channel.raw.basic_qos, prefetch_count=count)
            # Always use a fresh tag: to consume again with a used one closes the connection (541).
            tag = f"{lane.routing_key}-{uuid4().hex}"
            lane_channel.consumer_tag, lane_channel.prefetch = tag, count

            def deliver(
                _channel: Any, method: Any, properties: Any, body: bytes, lane_channel: _LaneChannel = lane_channel
            ) -> None:
                self._on_delivery(lane_channel.incoming(method, properties, body))

            await channel.call(
                channel.raw.basic_consume, queue=lane.queue, on_message_callback=deliver, consumer_tag=tag
            )

    async def cancel(self) -> None:
        """Stops consuming all lanes; delivered messages can still be acked. Raises nothing for a lost channel."""
        for lane_channel in list(self._open.values()):
            try:
                await self._cancel(lane_channel)
            except (ChannelGone, TimeoutError, AMQPError) as exc:
                log.warning("cancel_failed", lane=lane_channel.lane.routing_key, error=str(exc))

    async def cancel_when_settled(self) -> None:
        """Stops consuming all lanes once no delivery is on its way; that takes at most about QUIET_S seconds.

        RabbitMQ (seen with 3.10) drops what a quorum queue delivers while its consumer is being cancelled. Such a
        message comes back as redelivered, although no process has ever had it.
        """
        consumed = [lane_channel for lane_channel in self._open.values() if lane_channel.consumer_tag is not None]
        for lane_channel in consumed:
            lane_channel.book.hold_back()
        for lane_channel in consumed:
            await lane_channel.settle()
        await self.cancel()
        for lane_channel in consumed:
            lane_channel.book.flush()

    async def _lane_channel(self, lane: Lane) -> _LaneChannel:
        existing = self._open.get(lane)
        if existing is not None and existing.channel.is_open:
            return existing
        channel = await self._connection.channel(lambda gone: self._channel_closed(lane, gone))
        lane_channel = self._open[lane] = _LaneChannel(lane, channel)
        channel.raw.add_on_cancel_callback(lambda _frame: self._cancelled_by_broker(lane_channel))
        return lane_channel

    async def _cancel(self, lane_channel: _LaneChannel) -> None:
        tag, lane_channel.consumer_tag = lane_channel.consumer_tag, None
        if tag is not None and lane_channel.channel.is_open:
            await lane_channel.channel.call(lane_channel.channel.raw.basic_cancel, consumer_tag=tag)

    def _cancelled_by_broker(self, lane_channel: _LaneChannel) -> None:
        # The queue was deleted, or its leader moved away.
        if lane_channel.consumer_tag is None:
            return
        lane_channel.consumer_tag = None
        log.warning("consumer_cancelled_by_broker", lane=lane_channel.lane.routing_key)
        self._on_trouble(lane_channel.lane)

    def _channel_closed(self, lane: Lane, gone: ChannelGone) -> None:
        lane_channel = self._open.get(lane)
        if lane_channel is None or lane_channel.channel.gone is not gone:
            return  # we closed it, or it is replaced already
        if not gone.code:
            return  # it closed with its connection, whose loss is reported once
        del self._open[lane]
        log.warning("lane_channel_closed", lane=lane.routing_key, error=str(gone))
        self._on_trouble(lane)

    def _connection_lost(self) -> None:
        self._open.clear()
        self._on_trouble(None)
