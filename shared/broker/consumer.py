"""The consumer: one connection, one AMQP channel a lane, and the only place that acks.

It knows lanes, tags and prefetch, and nothing of what a message means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import structlog
from pika.exceptions import AMQPError

from shared.broker import topology
from shared.broker.channel import AmqpChannel, ChannelGone
from shared.broker.connection import Connection, State
from shared.broker.incoming import AckBook, Incoming
from shared.message.channels import Lane
from shared.metrics import Metrics

log = structlog.get_logger(__name__)


class _LaneChannel:
    """A lane's channel, its acks and its present consumer tag."""

    def __init__(self, lane: Lane, channel: AmqpChannel) -> None:
        self.lane = lane
        self.channel = channel
        self.book = AckBook(channel)
        self.consumer_tag: str | None = None

    def incoming(self, method: Any, properties: Any, body: bytes) -> Incoming:
        headers: dict[str, Any] = properties.headers or {}
        count = headers.get("x-delivery-count")
        return Incoming(
            lane=self.lane,
            tag=method.delivery_tag,
            book=self.book,
            body=body,
            headers=headers,
            redelivered=method.redelivered,
            delivery_count=int(count) if isinstance(count, int) else 0,
            message_id=properties.message_id or "",
            timestamp_ms=int(properties.timestamp) * 1000 if properties.timestamp else None,
        )


class Consumer:
    """``on_delivery`` gets each message of a consumed lane. ``on_trouble`` is told what was lost without our doing: one
    lane's consumer (``declare`` and ``consume`` it again), or, with None, the connection and all lanes (begin again
    with ``wait_up``).
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
        self._lanes = tuple(lanes)
        self._levels_s = tuple(levels_s)
        self._on_delivery = on_delivery
        self._on_trouble = on_trouble
        self._open: dict[Lane, _LaneChannel] = {}
        self._connection = Connection(
            url, name, use="consume", metrics=metrics, declare=self.declare, on_lost=self._connection_lost
        )

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def state(self) -> State:
        return self._connection.state

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._connection.start()

    async def wait_up(self) -> None:
        """Return once connected; the first time with the topology declared."""
        await self._connection.wait_up()

    async def close(self) -> None:
        """Flush the acks and close; what is unacked returns to its queue."""
        channels, self._open = list(self._open.values()), {}
        for lane_channel in channels:
            lane_channel.book.flush()
        await self._connection.close()

    async def declare(self) -> None:
        """Declare the topology of these lanes, on a channel of its own. Raises as ``topology.declare``."""
        channel = await self._connection.channel()
        try:
            await topology.declare(channel, self._levels_s, sorted({lane.channel for lane in self._lanes}))
        finally:
            await channel.close()

    async def get(self, lane: Lane) -> Incoming | None:
        """Take one message, or None if the lane is empty. Raises ChannelGone, TimeoutError."""
        lane_channel = await self._lane_channel(lane)
        answer = await lane_channel.channel.get(lane.queue)
        return None if answer is None else lane_channel.incoming(*answer)

    async def consume(self, prefetch: Mapping[Lane, int]) -> None:
        """Let these lanes flow, each with so many unacked messages at most. Raises ChannelGone, TimeoutError.

        A lane that flows already is cancelled first: a living consumer's prefetch cannot be changed.
        """
        for lane, count in prefetch.items():
            lane_channel = await self._lane_channel(lane)
            await self._cancel(lane_channel)
            channel = lane_channel.channel
            await channel.call(channel.raw.basic_qos, prefetch_count=count)
            # Always a fresh tag: consuming again with one that was used before closes the connection (541).
            tag = f"{lane.routing_key}-{uuid4().hex}"
            lane_channel.consumer_tag = tag

            def deliver(
                _channel: Any, method: Any, properties: Any, body: bytes, lane_channel: _LaneChannel = lane_channel
            ) -> None:
                self._on_delivery(lane_channel.incoming(method, properties, body))

            await channel.call(
                channel.raw.basic_consume, queue=lane.queue, on_message_callback=deliver, consumer_tag=tag
            )

    async def cancel(self) -> None:
        """Stop all lanes; what was delivered stays in hand and can be acked. Never raises for a lost channel."""
        for lane_channel in list(self._open.values()):
            try:
                await self._cancel(lane_channel)
            except (ChannelGone, TimeoutError, AMQPError) as exc:
                log.warning("cancel_failed", lane=lane_channel.lane.routing_key, error=str(exc))

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
            return  # closed by us, or replaced already
        if not gone.code:
            return  # with the connection, which is told of once
        del self._open[lane]
        log.warning("lane_channel_closed", lane=lane.routing_key, error=str(gone))
        self._on_trouble(lane)

    def _connection_lost(self) -> None:
        self._open.clear()
        self._on_trouble(None)
