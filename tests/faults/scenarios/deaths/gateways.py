"""Tests gateways that die while callers wait for their answers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.harness.member import Member
from tests.faults.harness.scale import UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.load.envelopes import Parcel
from tests.faults.load.senders import paced
from tests.support.waiting import eventually_async

ROUNDS = 2
#: a caller without an answer repeats its request after this time, seconds
ASK_AGAIN_S = 0.2
#: a caller repeats its request for at most this time, seconds
INSIST_S = 60.0
#: messages accepted between two kills
APART = 150

#: kills, and returns the processes that will end because of it
Blow = Callable[[Member], list[int]]


def all_of_it(gateway: Member) -> list[int]:
    family = gateway.family()
    gateway.kill_whole()
    return family


def its_main_process(gateway: Member) -> list[int]:
    # The processes that serve requests finish them and end by themselves.
    family = gateway.family()
    gateway.kill()
    return family


def the_one_that_serves(gateway: Member) -> list[int]:
    serving = gateway.family()[1]
    os.kill(serving, signal.SIGKILL)
    return [serving]


BLOWS: tuple[Blow, ...] = (all_of_it, its_main_process, the_one_that_serves)


@scenario(drawn=True)
async def gateway_killed_under_load(trial: Trial) -> None:
    """The gateway is killed again and again while callers post, and the callers repeat each request that was not
    answered: every caller gets its 202, no message answered 202 is lost, and a notification that was posted several
    times is delivered once.
    """
    async with trial.system(push=1, email=1, sms=1, **UNHURRIED) as system:
        parcels: list[Parcel] = []
        struck = asyncio.Event()
        async with asyncio.TaskGroup() as under_load:
            under_load.create_task(_insisting(system, parcels, struck, per_s=150))
            for blow in trial.draw.sample(BLOWS * ROUNDS, len(BLOWS) * ROUNDS):
                await _accepted(system, len(system.ledgers.accepted) + trial.draw.randrange(1, APART))
                trial.bounds.gateway_down.append(await _strike(system, blow))
            struck.set()
            system.healed()
        unanswered = [answer for answer in system.ledgers.answers if not answer.status]
        trial.note(f"{len(BLOWS) * ROUNDS} kills, {len(unanswered)} requests without an answer")
    assert unanswered, "no request was under way when the gateway was killed"
    assert len(system.ledgers.accepted) == len(parcels), f"{len(system.ledgers.accepted)} of {len(parcels)} got a 202"


async def _accepted(system: System, at_least: int) -> None:
    await eventually_async(lambda: len(system.ledgers.accepted) >= at_least, 30)


async def _strike(system: System, blow: Blow) -> tuple[float, float]:
    """Kills the gateway and waits until it accepts notifications again. Returns when it was down (from, to; Unix
    seconds).
    """
    [gateway] = system.gateways
    at = time.time()
    dying = blow(gateway)
    await eventually_async(lambda: not any(Path(f"/proc/{pid}").exists() for pid in dying), 30)
    await system.ready(gateway, "/health/ready")
    return at, time.time()


async def _insisting(system: System, parcels: list[Parcel], struck: asyncio.Event, per_s: float) -> None:
    """Posts notifications until ``struck``, and notes them in ``parcels``: each from a caller of its own, which repeats
    it until the answer is 202.
    """

    def written() -> Iterator[Parcel]:
        while not struck.is_set():
            [parcel] = system.writer.write(1)
            parcels.append(parcel)
            yield parcel

    async with asyncio.TaskGroup() as callers:
        async for _, parcel in paced(written(), per_s):
            callers.create_task(_insist(system, parcel))


async def _insist(system: System, parcel: Parcel) -> None:
    async def taken() -> bool:
        return (await system.load.post_one(parcel)).status == 202

    await eventually_async(taken, INSIST_S, ASK_AGAIN_S)
