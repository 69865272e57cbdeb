"""Tests devices that behave badly: others, and the nodes, are not disturbed by them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.devices.crowd import Crowd
from tests.faults.devices.device import Device
from tests.faults.harness.inboxes import AT_ONCE_S, CONSUMER, NO_POSITION_CHECK, ROLE, SOCKETS
from tests.faults.harness.scale import UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.worker_log import events
from tests.faults.load.hands import arriving, for_users, some_users, used
from tests.faults.proxy import proxy
from tests.support.waiting import eventually_async

FLAP_S = 8.0
#: a subscription is confirmed after twice this time, seconds
LATENCY_S = 0.1
#: what has gone is forgotten by its node within this time, seconds
FORGOTTEN_S = 5.0
#: A kernel keeps some megabytes of what a device does not take; then 64 KiB wait in the node, and 30 s are given.
GIVEN_UP_S = 75.0
LARGE_BYTES = 24_000


@scenario(Bounds(stale_s=AT_ONCE_S + 2 * LATENCY_S))
async def devices_flapping(trial: Trial) -> None:
    """100 devices connect and go away all the time, in good order or without a word, while Redis answers the nodes
    0.2 s late and no comparison of positions helps: whoever is connected shows every change in time, devices that stay
    are not disturbed, and the nodes keep nothing of those that have gone.
    """
    async with proxy([trial.stage.redis.port]) as between:
        slow = {"REDIS_URL": f"redis://127.0.0.1:{between.port}/0", ROLE: SOCKETS}
        # The writer has a fast Redis: what it tells must not overtake a subscription that is on its way.
        roles = {"websocket-0": {ROLE: CONSUMER}, "websocket-1": slow, "websocket-2": slow}
        variables = UNHURRIED["variables"] | NO_POSITION_CHECK
        async with trial.system(websocket=3, variables_of=roles, **UNHURRIED | {"variables": variables}) as system:
            between.latency(LATENCY_S)
            users = some_users(trial.draw, 120)
            steady = await system.inboxes.connect(users[:20], 2)
            flapping = await system.inboxes.connect(users[20:], 1)
            async with (
                arriving(system, steady, int(20 * FLAP_S), per_s=20),
                used(system, flapping, per_s=10),
                _flapping(system, flapping),
            ):
                await asyncio.sleep(FLAP_S)
            await flapping.all_live()
            connections = sum(len(device.record.lives) for device in flapping.devices)
            trial.note(f"{connections} times a device was up to date and went away again")
            assert not any(device.record.ends for device in steady.devices), "a device that stayed was disconnected"
            devices = len(steady.devices) + len(flapping.devices)
            await eventually_async(lambda: _are_known(system, devices), FORGOTTEN_S)


@asynccontextmanager
async def _flapping(system: System, crowd: Crowd) -> AsyncIterator[None]:
    """Lets each device go away again and again while the block runs, mostly soon.

    Half of the time a notification is sent at the moment at which it comes back: when its user is being subscribed.
    """
    draw = system.draw

    async def flap(device: Device) -> None:
        while True:
            await asyncio.sleep(draw.uniform(0.05, 0.8) if draw.random() < 0.6 else 3.0)
            if draw.random() < 0.5:
                device.cut()
            else:
                await device.leave()
            if draw.random() < 0.5:
                await asyncio.sleep(draw.uniform(0.0, LATENCY_S))
                await system.load.publish(for_users(system, (device.user,), 1))

    flaps = [asyncio.create_task(flap(device)) for device in crowd.devices]
    try:
        yield
    finally:
        for task in flaps:
            task.cancel()
        for result in await asyncio.gather(*flaps, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def _are_known(system: System, devices: int) -> bool:
    """Tells whether the nodes know of exactly this number of connections."""
    health = [await system.health_of(node) for node in system.inboxes.nodes]
    assert sum(int(str(each["connections"])) for each in health) == devices, f"the nodes know of {health}"
    return True


@scenario(Bounds(stale_s=AT_ONCE_S))
async def one_stopped_device(trial: Trial) -> None:
    """One of 1 000 devices stops reading while its user gets large notifications: every change is on every other
    device within 1 s, its node gives it up, and it resumes without a hole when it reads again.
    """
    # Otherwise its silence would be noticed first.
    variables = UNHURRIED["variables"] | NO_POSITION_CHECK | {"SOCKET_PING_S": "60"}
    async with trial.system(websocket=2, **UNHURRIED | {"variables": variables}) as system:
        crowd = await system.inboxes.connect(some_users(trial.draw, 200), 5)
        stopped = crowd.devices[0]
        trial.bounds.ends = {1006: 1, 4413: 1}
        content = {"title": "Hello", "body": "x" * LARGE_BYTES}
        async with _unending(system, crowd, stopped, content), used(system, crowd, per_s=4):
            stopped.stop_reading()
            await eventually_async(lambda: _given_up(system), GIVEN_UP_S, 0.5)
        trial.note(f"given up as {_given_up(system)[0]}")
        stopped.read_again()
        await eventually_async(lambda: stopped.record.ends)
        system.healed()
        await crowd.all_live()


def _given_up(system: System) -> list[str]:
    """Returns how the nodes have given devices up."""
    kinds = ("connection_too_slow", "connection_silent")
    return [kind for kind in kinds if list(events(system.workers, kind))]


@asynccontextmanager
async def _unending(system: System, crowd: Crowd, stopped: Device, content: dict[str, str]) -> AsyncIterator[None]:
    """Sends to all users, and more to the user of the stopped device, while the block runs."""
    ended = asyncio.Event()

    async def send() -> None:
        while not ended.is_set():
            parcels = for_users(system, crowd.users, 10)
            if len(crowd.live) == len(crowd.devices):
                parcels += for_users(system, (stopped.user,), 8, content=content, template_code=None, variables=None)
            await system.load.stream(parcels, per_s=40, draw=system.draw)

    sending = asyncio.create_task(send())
    try:
        yield
        ended.set()
        await sending
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
