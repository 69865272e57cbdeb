"""Observes where a channel's messages are while nothing can be delivered, by the broker's own counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ops.servers.management import QueueCounts
from shared.broker.topology import FAILED_QUEUE
from shared.message.channels import lanes_of
from tests.faults.harness.stage import QUORUM_TICK_S
from tests.faults.harness.system import System

#: interval between two looks, seconds: the counts are no fresher
LOOK_EVERY_S = QUORUM_TICK_S / 2


@dataclass(slots=True)
class Backlog:
    """Holds the highest numbers of all looks, by the broker's own counts."""

    #: messages in the ladder, and messages delivered but not acked, together
    elsewhere: int = 0
    #: the part of those that is in the ladder
    in_ladder: int = 0
    failed: int = 0
    #: messages ready in the channel's own queues, at the last look
    waiting: int = 0
    looks: int = 0

    def look(self, queues: dict[str, QueueCounts], channel: str) -> None:
        lanes = {lane.queue for lane in lanes_of(channel)}
        ladder = sum(q.messages for name, q in queues.items() if name.startswith(f"retry.{channel}."))
        in_hand = sum(queues[name].unacknowledged for name in lanes)
        self.waiting = sum(queues[name].ready for name in lanes)
        self.in_ladder = max(self.in_ladder, ladder)
        self.elsewhere = max(self.elsewhere, ladder + in_hand)
        self.failed = max(self.failed, queues[FAILED_QUEUE].messages)
        self.looks += 1

    def __str__(self) -> str:
        return (
            f"at most {self.elsewhere} in hand or in the ladder ({self.in_ladder} in the ladder), {self.failed} failed"
        )


@asynccontextmanager
async def watched(system: System, channel: str) -> AsyncIterator[Backlog]:
    """Looks again and again while the block runs, and once more at its end. Raises requests.RequestException."""
    backlog = Backlog()

    async def look() -> None:
        queues = await asyncio.to_thread(system.broker.list_queues, system.vhost)
        backlog.look(dict(queues), channel)

    async def watch() -> None:
        while True:
            await look()
            await asyncio.sleep(LOOK_EVERY_S)

    watching = asyncio.create_task(watch())
    try:
        yield backlog
        await look()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
