"""One operation on failed.queue: a connection of its own, the lock, one scan, everything given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.broker.browse import Scan
from shared.broker.channel import BROKER_FAILURES, AmqpChannel
from shared.broker.connection import Connection
from shared.broker.topology import FAILED_QUEUE
from shared.errors import BrokerUnavailable
from shared.failed.lock import take_lock

#: bounds of one scan
MOST_MESSAGES, MOST_BYTES = 10_000, 256 * 1024 * 1024
#: a scan takes for so long at most, and an operation ends, whatever happens, with everything back in the queue, seconds
SCAN_WITHIN_S, OPERATION_WITHIN_S = 20.0, 55.0
#: the gateway answers within 5 s when the broker is away; hanging up takes 2 of them
CONNECT_WITHIN_S = 2.5
#: how soon the broker notices that an operator's machine is gone, and takes its messages back
HEARTBEAT_S = 5


@asynccontextmanager
async def failed_operation(
    url: str, *, most_messages: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES
) -> AsyncIterator[Scan]:
    """A scan of failed.queue that nobody else makes at the same time.

    What was taken and not acked is back in the queue at the end: also when the body raises, is cancelled or dies, since
    it is the broker that holds it. Raises Locked, or BrokerUnavailable.
    """
    connection = Connection(url, "failed.queue operation", heartbeat_s=HEARTBEAT_S)
    connection.start()
    try:
        async with asyncio.timeout(OPERATION_WITHIN_S):
            channel = await _open(connection)
            scan = Scan(
                channel, FAILED_QUEUE, most_messages=most_messages, most_bytes=most_bytes, within_s=SCAN_WITHIN_S
            )
            yield scan
            await scan.give_back()
    except BROKER_FAILURES as exc:
        raise BrokerUnavailable(f"RabbitMQ does not answer: {str(exc) or type(exc).__name__}") from exc
    finally:
        await connection.close()


async def _open(connection: Connection) -> AmqpChannel:
    """One channel for both: as long as it is open the lock is ours."""
    async with asyncio.timeout(CONNECT_WITHIN_S):
        await connection.wait_up()
        channel = await connection.channel()
        await take_lock(channel)
    return channel
