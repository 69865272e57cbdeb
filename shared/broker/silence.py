"""Notices a broker that stands still: its kernel keeps the connection open and takes what is written to it.

RabbitMQ was measured to send something at least once per heartbeat interval, on every connection, even when its queues
are stuck. Asking it for an answer would not do: under a memory alarm, and when a queue without a leader has 400
publishes to take, a living broker does not read what it is sent (measured too). pika looks once in an interval and five
seconds more: it needs 25 s to be sure with an interval of 10.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: between two looks, seconds
LOOK_EVERY_S = 0.5
#: this much of a heartbeat interval without a byte from the broker: it stands still
INTERVALS = 1.5


async def silence(received: Callable[[], int], heartbeat_s: float) -> None:
    """Return once ``received()``, a count of bytes, has stood still for one and a half heartbeat intervals.

    Looks are counted, not seconds: a process that itself stood still for a minute has looked once, and reads what came
    in the meantime before it looks again.
    """
    enough = round(INTERVALS * heartbeat_s / LOOK_EVERY_S)
    silent, before = 0, received()
    while silent < enough:
        await asyncio.sleep(LOOK_EVERY_S)
        now = received()
        silent = silent + 1 if now == before else 0
        before = now
