"""A steady stream of messages while something breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.faults.envelopes import Parcel
from tests.faults.system import System


@asynccontextmanager
async def under_load(system: System, parcels: Sequence[Parcel], per_s: float) -> AsyncIterator[None]:
    """Send them while the block runs, over HTTP and straight; at its end all have been sent.

    Nothing more is sent once the block has raised.
    """
    sending = asyncio.create_task(system.load.stream(parcels, per_s=per_s, draw=system.draw))
    try:
        yield
        await sending
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def all_paused(system: System) -> bool:
    """Every worker says that it is paused."""
    return all([bool((await system.health_of(worker))["paused"]) for worker in system.workers])
