"""Sends traffic while something is broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.load.envelopes import Parcel

#: the answer of each channel's first provider to some calls: worth a retry, and not soon opening its breaker
PASSING_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "push": ("fcm", {"mode": "status", "error_code": "THIRD_PARTY_AUTH_ERROR"}),
    "email": ("smtp", {"mode": "status", "status": 451}),
    "sms": ("twilio", {"mode": "status", "status": 503}),
}


@asynccontextmanager
async def flowing(trial: Trial, system: System, count: int, per_s: float, **fields: Any) -> AsyncIterator[list[Parcel]]:
    """Sends ``count`` messages at a steady rate while the block runs, half of them directly onto the queues. The block
    is given the parcels.

    At the end of the block it waits until the rest is sent. ``fields`` are the same in all of them.
    """
    parcels = system.writer.write(count, **fields)
    sending = asyncio.create_task(system.load.stream(parcels, per_s=per_s, draw=trial.draw))
    try:
        yield parcels
        await sending
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def some_are_retried(system: System, rate: float = 0.1) -> None:
    """Lets this share of all calls be refused once, so that some message is always in the ladder or being forwarded to
    it.
    """
    for channel in system.plan.workers:
        provider, fault = PASSING_FAULTS[channel]
        await system.providers.fault(provider, rate=rate, **fault)


@asynccontextmanager
async def unending(trial: Trial, system: System, per_s: float, unwanted: float = 0.0) -> AsyncIterator[None]:
    """Sends messages at a steady rate until the block ends, half of them directly onto the queues.

    The share ``unwanted`` of them goes to a user who has opted out.
    """
    ended = asyncio.Event()

    def written() -> Iterator[Parcel]:
        while not ended.is_set():
            yield from system.writer.write_unwanted(1) if trial.draw.random() < unwanted else system.writer.write(1)

    sending = asyncio.create_task(system.load.stream(written(), per_s=per_s, draw=trial.draw))
    try:
        yield
        ended.set()
        await sending
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
