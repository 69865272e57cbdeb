"""Runs one operation on failed.queue: opens its own connection, takes the lock, scans, and requeues the rest.

A message that is taken is invisible to all other readers, so two concurrent operations would each see only a part.
Therefore an operation holds a lock: an exclusive classic queue, which the broker deletes with its connection, no matter
how that ends. The broker would grant the lock to a second channel of the same connection too, so each operation has its
own connection. Quorum queues cannot be exclusive, and they do not enforce exclusive consumers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.broker.browse import Scan
from shared.broker.channel import BROKER_FAILURES, AmqpChannel
from shared.broker.connection import Connection
from shared.broker.declaration import declare_lock
from shared.broker.topology import FAILED_QUEUE
from shared.errors import BrokerUnavailable

#: Bounds of one scan.
MOST_MESSAGES, MOST_BYTES = 10_000, 256 * 1024 * 1024
#: Longest time of a scan, and of a whole operation, after which everything is back in the queue, seconds.
SCAN_WITHIN_S, OPERATION_WITHIN_S = 20.0, 55.0
#: Longest time of a scan that looks for certain messages: it has no other bound.
EXACT_SCAN_WITHIN_S = 30.0
#: Longest wait for the connection, seconds: the gateway answers within 5 s if the broker is unavailable, and closing
#: the connection takes 2 of them.
CONNECT_WITHIN_S = 2.5
#: AMQP heartbeat interval, seconds. Within two intervals the broker notices a lost machine and requeues its messages.
HEARTBEAT_S = 5


@asynccontextmanager
async def failed_operation(
    url: str, *, exact: bool = False, most_messages: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES
) -> AsyncIterator[Scan]:
    """Opens a scan of failed.queue while no other operation can run.

    A scan for certain messages (``exact``) goes through the whole queue, as far as it comes in EXACT_SCAN_WITHIN_S.

    At the end the broker requeues every message that was taken and not acked, even if the body raises, is cancelled or
    its process dies. Raises Locked or BrokerUnavailable.
    """
    connection = Connection(url, "failed.queue operation", heartbeat_s=HEARTBEAT_S)
    connection.start()
    try:
        async with asyncio.timeout(OPERATION_WITHIN_S):
            channel = await _open(connection)
            scan = Scan(
                channel,
                FAILED_QUEUE,
                most_messages=sys.maxsize if exact else most_messages,
                most_bytes=sys.maxsize if exact else most_bytes,
                within_s=EXACT_SCAN_WITHIN_S if exact else SCAN_WITHIN_S,
            )
            yield scan
            await scan.give_back()
    except BROKER_FAILURES as exc:
        raise BrokerUnavailable(f"RabbitMQ does not answer: {str(exc) or type(exc).__name__}") from exc
    finally:
        await connection.close()


async def _open(connection: Connection) -> AmqpChannel:
    """Opens the channel that scans, and takes the lock, which is held while the connection lasts."""
    async with asyncio.timeout(CONNECT_WITHIN_S):
        await connection.wait_up()
        channel = await connection.channel()
        await declare_lock(channel)
    return channel
