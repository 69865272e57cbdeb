"""The operators' lock: one operation on failed.queue at a time.

While a message is taken, every other reader sees a queue without it: two operations at once would each see a part. The
lock is an exclusive classic queue, which the broker deletes with its connection, however that ends. (A second channel
of one connection is granted the lock again, so an operation has a connection of its own; quorum queues cannot be
exclusive, and do not enforce exclusive consumers.)
"""

from __future__ import annotations

from shared.broker.channel import AmqpChannel, ChannelGone
from shared.broker.topology import LOCK_QUEUE
from shared.errors import Locked

_RESOURCE_LOCKED = 405


async def take_lock(channel: AmqpChannel) -> None:
    """Hold the lock until the channel's connection ends.

    Raises Locked if somebody else has it (the channel is closed then), ChannelGone, TimeoutError.
    """
    try:
        await channel.call(
            channel.raw.queue_declare,
            queue=LOCK_QUEUE,
            exclusive=True,
            arguments={"x-queue-type": "classic"},
        )
    except ChannelGone as exc:
        if exc.code == _RESOURCE_LOCKED:
            raise Locked("another operation on failed.queue is under way") from exc
        raise
