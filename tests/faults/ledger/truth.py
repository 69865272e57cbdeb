"""Checks that the processes themselves report what is broken: their ``/health`` during a fault and after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import aiohttp

from tests.faults.harness.member import Member
from tests.faults.harness.system import System
from tests.support.waiting import eventually_async

#: interval between two requests, seconds
ASK_EVERY_S = 0.1


async def gateways_say(system: System, *brokers: str, within_s: float) -> float:
    """Waits until each gateway reports the broker as one of ``brokers`` (up, blocked, down). Returns how long it took,
    in seconds.

    Raises AssertionError if a gateway has not reported it after ``within_s``.
    """
    return await _all_say(system, system.gateways, "broker", brokers, within_s)


async def workers_say(
    system: System, *statuses: str, within_s: float, workers: Sequence[Member] | None = None
) -> float:
    """Waits in the same way for the ``status`` of the workers (healthy, degraded, unhealthy)."""
    return await _all_say(system, system.workers if workers is None else workers, "status", statuses, within_s)


async def workers_pause(system: System, within_s: float) -> float:
    """Waits until every worker reports that it consumes nothing. Returns the seconds that it took."""
    return await _all_say(system, system.workers, "paused", (True,), within_s)


async def all_say_down(system: System, within_s: float) -> float:
    """Waits until no process reports that it has a broker. Returns the seconds that it took."""
    gateways, workers = await asyncio.gather(
        gateways_say(system, "down", within_s=within_s), workers_say(system, "unhealthy", within_s=within_s)
    )
    return max(gateways, workers)


async def all_well(system: System, within_s: float = 30.0) -> float:
    """Waits until every process has a broker again. Returns the seconds that it took. A breaker that is not closed
    (degraded) does not matter.
    """
    gateways, workers = await asyncio.gather(
        gateways_say(system, "up", within_s=within_s), workers_say(system, "healthy", "degraded", within_s=within_s)
    )
    return max(gateways, workers)


async def _all_say(
    system: System, members: Sequence[Member], field: str, words: Sequence[object], within_s: float
) -> float:
    began = time.monotonic()
    said: dict[str, object] = {}

    async def agreed() -> bool:
        for member in members:
            said[member.name] = await _word(system, member, field)
        return all(word in words for word in said.values())

    try:
        await eventually_async(agreed, within_s, ASK_EVERY_S)
    except AssertionError as exc:
        wanted = " or ".join(map(str, words))
        raise AssertionError(f"/health was to say {field} {wanted} within {within_s} s: {said}") from exc
    return time.monotonic() - began


async def _word(system: System, member: Member, field: str) -> object:
    try:
        return (await system.health_of(member))[field]
    except (aiohttp.ClientError, TimeoutError) as exc:
        return repr(exc)
