"""Samples how many messages wait in each lane, by passive declares on a separate channel.

A slow answer counts as unknown, not as 0: a queue without a leader answers 0 after 250 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog
from pika.exceptions import AMQPError

from shared.broker.channel import AmqpChannel, ChannelGone
from shared.broker.connection import Connection
from shared.message.channels import CHANNELS, Lane, lanes_of

log = structlog.get_logger(__name__)

SAMPLE_EVERY_S = 1.0
#: an answer that took longer than this is not believed, seconds
BELIEVED_WITHIN_S = 0.2


class Sampler:
    """Samples the lanes of ``channels``. ``run`` works on the connection's loop; any thread may call ``ready``."""

    def __init__(self, channels: Iterable[str] = tuple(CHANNELS), every_s: float = SAMPLE_EVERY_S) -> None:
        self._lanes = tuple(lane for channel in channels for lane in lanes_of(channel))
        self._every_s = every_s
        self._ready: dict[Lane, int] = {}

    def ready(self, lane: Lane) -> int | None:
        """Returns how many messages were ready in the lane's queue a moment ago, or None if that is not known."""
        return self._ready.get(lane)

    async def run(self, connection: Connection) -> None:
        """Samples until it is cancelled, and continues after each loss of the connection."""
        while True:
            await connection.wait_up()
            try:
                await self._sample_on(await connection.channel())
            except (ChannelGone, TimeoutError, AMQPError) as exc:
                # A lane whose queue is missing closes the channel. The other lanes' numbers would be stale by the
                # next round, so all are cleared.
                log.info("sampling_interrupted", error=str(exc) or repr(exc))
            self._ready.clear()
            await asyncio.sleep(self._every_s)

    async def _sample_on(self, channel: AmqpChannel) -> None:
        try:
            while True:
                for lane in self._lanes:
                    await self._sample(channel, lane)
                await asyncio.sleep(self._every_s)
        finally:
            await channel.close()

    async def _sample(self, channel: AmqpChannel, lane: Lane) -> None:
        call = asyncio.ensure_future(channel.call(channel.raw.queue_declare, queue=lane.queue, passive=True))
        try:
            in_time, _ = await asyncio.wait((call,), timeout=BELIEVED_WITHIN_S)
            if not in_time:
                self._ready.clear()
            answer = await call
        finally:
            call.cancel()
        if in_time:
            self._ready[lane] = answer.method.message_count
