"""Does what users do with their notifications: they read, archive and delete them, on a device or over HTTP."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.faults.devices.crowd import Crowd
from tests.faults.devices.device import Device
from tests.faults.harness.system import System
from tests.faults.ledger.ledgers import Answer
from tests.faults.load.envelopes import Parcel
from tests.faults.load.senders import GIVE_UP_S

_KINDS = ("read", "read", "archive", "delete", "read_all")


def for_users(system: System, users: tuple[str, ...], count: int, **fields: Any) -> list[Parcel]:
    """Returns notifications for inboxes, each for one of the users."""
    return [system.writer.one(channel="websocket", user_id=system.draw.choice(users), **fields) for _ in range(count)]


@asynccontextmanager
async def arriving(
    system: System, crowd: Crowd, count: int, per_s: float, **fields: Any
) -> AsyncIterator[list[Parcel]]:
    """Sends notifications to the users of the crowd while the block runs, half of them directly onto the queues.

    At the end of the block it waits until the rest is sent.
    """
    parcels = for_users(system, crowd.users, count, **fields)
    sending = asyncio.create_task(system.load.stream(parcels, per_s=per_s, draw=system.draw))
    try:
        yield parcels
        await sending
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


@asynccontextmanager
async def used(system: System, crowd: Crowd, per_s: float) -> AsyncIterator[None]:
    """Lets the users of the crowd mark and delete what their devices show while the block runs."""

    async def act() -> None:
        while True:
            await asyncio.sleep(system.draw.expovariate(per_s))
            devices = [device for device in crowd.devices if device.inbox.rows]
            if devices:
                await _act(system, system.draw.choice(devices))

    acting = asyncio.create_task(act())
    try:
        yield
    finally:
        acting.cancel()
        [error] = await asyncio.gather(acting, return_exceptions=True)
        if isinstance(error, Exception):
            raise error


async def _act(system: System, device: Device) -> None:
    kind, draw = system.draw.choice(_KINDS), system.draw
    ids = sorted(device.inbox.rows)
    chosen = draw.sample(ids, min(len(ids), draw.randrange(1, 4)))
    if draw.random() < 0.5:
        await device.say(kind, **({"upto": chosen[0]} if kind == "read_all" else {"ids": chosen}))
        return
    inbox = f"http://127.0.0.1:{draw.choice(system.gateways).port}/users/{device.user}/inbox"
    match kind:
        case "delete":
            await _ask(system, "DELETE", f"{inbox}/{chosen[0]}")
        case "read_all":
            await _ask(system, "PATCH", inbox, json={"upto": chosen[0], "read": True})
        case "archive":
            await _ask(system, "PATCH", inbox, json={"ids": chosen, "archived": True})
        case _:
            await _ask(system, "PATCH", f"{inbox}/{chosen[0]}", json={"read": True})


async def _ask(system: System, method: str, url: str, **body: Any) -> None:
    at, began = time.time(), time.perf_counter()
    try:
        async with system.http.request(method, url, timeout=_TIMEOUT, **body) as answer:
            # Somebody else may have deleted it.
            status = 200 if answer.status == 404 else answer.status
    except (aiohttp.ClientError, TimeoutError):
        status = 0
    system.ledgers.answers.append(Answer(f"{method} an inbox", status, time.perf_counter() - began, at))


_TIMEOUT = aiohttp.ClientTimeout(total=GIVE_UP_S)


def some_users(draw: random.Random, count: int) -> list[str]:
    """Returns users that the directory knows."""
    return [f"user-{number}" for number in draw.sample(range(1000, 2000), count)]
