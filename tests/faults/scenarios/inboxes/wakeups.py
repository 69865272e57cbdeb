"""Tests what becomes of the devices when wake-ups are late, lost or never sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from shared.realtime.presence import BEAT_S
from shared.redis.subscriber import LONGEST_WAIT_S
from tests.faults.devices.crowd import Crowd
from tests.faults.faults.redis_faults import flush
from tests.faults.harness.inboxes import AT_ONCE_S, NO_POSITION_CHECK
from tests.faults.harness.scale import UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.worker_log import events
from tests.faults.load.hands import arriving, some_users, used
from tests.support.waiting import eventually_async

PER_USER = 5
CUT_S = 10.0
#: the connections of the subscriptions are cut so often that none lives for longer, seconds
CUT_EVERY_S = 0.05
#: a cut node waits up to LONGEST_WAIT_S before it connects, and reads then, seconds
RESTORED_S = LONGEST_WAIT_S + 2
#: interval between two comparisons of positions in the scenarios that need some, seconds
CHECK_S = 2.0
#: how long a comparison waits for the wake-ups that are on their way, seconds
STRAGGLERS_S = 1.0
#: The comparison that follows a change begins at most 1.2 CHECK_S after the one before it has ended.
FOUND_S = 1.2 * CHECK_S + 2 * STRAGGLERS_S + 1
FLUSHES = 3


def _plan(**variables: str) -> dict[str, Any]:
    return UNHURRIED | {"variables": UNHURRIED["variables"] | variables}


@scenario(Bounds(stale_s=AT_ONCE_S), quick=True)
async def every_change_in_time(trial: Trial) -> None:
    """Nothing is broken, 200 devices on two nodes follow 40 inboxes that change all the time, and no comparison of
    positions helps: every change is on every connected device within 1 s, also on those that come and go, and at no
    moment does a device show anything else than its inbox.
    """
    async with trial.system(websocket=2, **_plan(**NO_POSITION_CHECK)) as system:
        crowd = await system.inboxes.connect(some_users(trial.draw, 40), PER_USER)
        async with (
            crowd.compared_all_the_time(),
            arriving(system, crowd, 240, per_s=60),
            used(system, crowd, per_s=10),
        ):
            await system.inboxes.stored(100)
            for device in trial.draw.sample(crowd.live, 40):
                device.cut()
        await crowd.all_live()
        trial.note(f"{crowd.compared} comparisons of a device with its inbox")


@scenario()
async def subscriptions_cut(trial: Trial) -> None:
    """The connections on which the nodes hear wake-ups are cut for 10 s while inboxes change, and no comparison of
    positions helps: no device is disconnected, and all show everything as soon as the nodes hear again.
    """
    async with trial.system(websocket=2, **_plan(**NO_POSITION_CHECK)) as system:
        crowd = await system.inboxes.connect(some_users(trial.draw, 40), PER_USER)
        # Nothing changes after the cut, so no later wake-up makes up for those that were missed.
        async with arriving(system, crowd, 200, per_s=50), used(system, crowd, per_s=10):
            cuts = await _cut_subscriptions(system.redis_url, CUT_S)
        system.healed()
        trial.note(f"{cuts} connections cut; equal {await crowd.all_equal(RESTORED_S):.1f} s after the last one")
        restored = {event["channels"] for event in events(system.workers, "subscriptions_restored")}
        assert restored, "no node has subscribed again"


async def _cut_subscriptions(url: str, seconds: float) -> int:
    """Cuts every connection that subscribes anything, again and again. Returns how many."""
    until, cuts = time.monotonic() + seconds, 0
    with redis.Redis.from_url(url) as client:
        while time.monotonic() < until:
            cuts += int(await asyncio.to_thread(client.client_kill_filter, _type="pubsub"))
            await asyncio.sleep(CUT_EVERY_S)
    return cuts


@scenario(Bounds(stale_s=FOUND_S))
async def wakeups_never_sent(trial: Trial) -> None:
    """Redis refuses to publish, again and again and in the end for good, while inboxes change: every change is on
    every connected device within one comparison of positions, and no device is disconnected.
    """
    async with trial.system(websocket=2, **_plan(POSITION_CHECK_S=f"{CHECK_S:g}")) as system:
        crowd = await system.inboxes.connect(some_users(trial.draw, 40), PER_USER)
        with _refusing_to_publish(system.redis_url) as refusal:
            async with (
                crowd.compared_all_the_time(),
                arriving(system, crowd, 480, per_s=40),
                used(system, crowd, per_s=10),
            ):
                for number in range(20):
                    await asyncio.to_thread(refusal.set, on=number % 2 == 0)
                    await asyncio.sleep(trial.draw.uniform(0.2, 0.6))
                await asyncio.to_thread(refusal.set, on=True)
            took_s = await crowd.all_equal(FOUND_S)
        trial.note(f"with a comparison every {CHECK_S:g} s, equal {took_s:.1f} s after the last change")
        assert sum(event["devices"] for event in events(system.workers, "wakeups_lost")), "no wake-up was missed"


class _Refusal:
    """Lets a Redis refuse to publish, or not."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def set(self, *, on: bool) -> None:
        self._client.acl_setuser("default", enabled=True, commands=["-publish" if on else "+publish"], nopass=True)


@contextmanager
def _refusing_to_publish(url: str) -> Iterator[_Refusal]:
    with redis.Redis.from_url(url) as client:
        refusal = _Refusal(client)
        try:
            yield refusal
        finally:
            refusal.set(on=False)


@scenario()
async def redis_emptied_under_devices(trial: Trial) -> None:
    """FLUSHALL is run three times while every user has as many devices as allowed: nobody is evicted, presence knows
    all of them again, and one device more evicts exactly one.
    """
    async with trial.system(websocket=2, **_plan()) as system:
        crowd = await system.inboxes.connect(some_users(trial.draw, 20), PER_USER)
        async with arriving(system, crowd, 240, per_s=60), used(system, crowd, per_s=10):
            for number in range(FLUSHES):
                await system.inboxes.stored(60 * (number + 1))
                await asyncio.to_thread(flush, trial.stage.redis)
        system.healed()
        began = time.monotonic()
        await eventually_async(lambda: _all_present(system, crowd), 1.5 * BEAT_S, 0.2)
        trial.note(f"presence knew all devices {time.monotonic() - began:.1f} s after the last flush")
        assert not any(device.record.ends for device in crowd.devices), "a connection ended"
        trial.bounds.ends[4505] = 1
        more = await system.inboxes.connect(crowd.users[:1], 1)
        evicted = [device for device in crowd.devices if device.user in more.users]
        await eventually_async(lambda: sum(device.stays_away == 4505 for device in evicted) == 1)
        crowd.devices = [device for device in crowd.devices if device.stays_away is None]


async def _all_present(system: System, crowd: Crowd) -> bool:
    for user in crowd.users:
        url = f"http://127.0.0.1:{system.gateways[0].port}/users/{user}/presence"
        async with system.http.get(url) as answer:
            document = await answer.json()
        if answer.status != 200 or len(document["connections"]) != PER_USER:
            return False
    return True
