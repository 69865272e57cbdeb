"""Fakes the publisher of a reporter."""

from __future__ import annotations

import asyncio

from shared.broker.publisher import Publication, Publisher
from shared.errors import PublishRejected
from shared.events.wire import decode


class GatedPublisher(Publisher):
    """Confirms when its gate is open, refuses while ``refuses`` is set, and remembers what was published."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.refuses = self.closed = False
        self.tried: list[Publication] = []
        self.confirmed: list[Publication] = []

    async def publish(self, publication: Publication, deadline_s: float | None = None) -> None:
        self.tried.append(publication)
        await self.gate.wait()
        if self.refuses:
            raise PublishRejected("full")
        self.confirmed.append(publication)

    def start(self) -> None:
        """Does nothing: there is nothing to connect to."""

    async def close(self) -> None:
        self.closed = True

    @property
    def told(self) -> list[str]:
        """Returns the request_ids of all confirmed reports, in their order."""
        return [found[1] for one in self.confirmed for found in decode(one.body).reports]
