"""Connects publishers to a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared.broker.publisher import Publisher

#: A broker that declares nothing within this time is broken: it is an error, not a test that never ends.
BROKER_DEADLINE_S = 30.0


@asynccontextmanager
async def publishing(url: str, **options: Any) -> AsyncIterator[Publisher]:
    """Yields a connected publisher, with the topology declared; ``options`` replace its own."""
    options = {"levels_s": (1.0, 5.0), "deadline_s": 10, "max_pending": 5000, **options}
    publisher = Publisher(url, "test", **options)
    publisher.start()
    try:
        await asyncio.wait_for(publisher.connection.wait_up(), BROKER_DEADLINE_S)
        yield publisher
    finally:
        await publisher.close()
