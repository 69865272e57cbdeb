"""A proxy between the application and RabbitMQ does to their connections what networks do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.faults.collecting import held
from tests.faults.proxy import Proxy, proxy
from tests.faults.scale import UNHURRIED
from tests.faults.scenario import scenario
from tests.faults.system import EVERYBODY, System
from tests.faults.traffic import flowing, some_are_retried
from tests.faults.trial import Trial
from tests.faults.truth import all_well
from tests.waiting import eventually_async

_RESETS = 8
_CUTS = 8
_LATENCY_S = 0.1


@asynccontextmanager
async def _behind_a_proxy(trial: Trial, **plan: Any) -> AsyncIterator[tuple[System, Proxy]]:
    """A system whose gateways and workers reach the broker through a proxy."""
    async with (
        proxy([trial.stage.rabbitmq.ports.amqp]) as between,
        trial.system(amqp_ports={EVERYBODY: between.port}, **UNHURRIED, **plan) as system,
    ):
        yield system, between


@scenario()
async def connections_reset(trial: Trial) -> None:
    """Every connection to the broker is reset eight times under load, with answers on their way: nothing is doubled."""
    async with _behind_a_proxy(trial, push=1, email=1, sms=1) as (system, between):
        await some_are_retried(system)
        async with flowing(trial, system, 1500, per_s=100):
            for number in range(_RESETS):
                await system.delivered(50 * (number + 1))
                between.hold_answers()
                await eventually_async(lambda: between.kept_bytes("down") > 0)
                between.reset()
                between.pass_on()
                await all_well(system)
            system.healed()
        trial.note(f"{between.counts.connections} connections made for 7 that were needed")


@scenario()
async def frames_cut(trial: Trial) -> None:
    """Connections break in the middle of a frame, towards the broker and back: half a message is no message."""
    async with _behind_a_proxy(trial, push=1, email=1, sms=1) as (system, between):
        await some_are_retried(system)
        async with flowing(trial, system, 1200, per_s=100):
            for number in range(_CUTS):
                await system.delivered(50 * (number + 1))
                # Confirms and acks are shorter: it is a message that is cut.
                between.cut_in_frame("down" if number % 2 else "up", least_bytes=100)
                await eventually_async(lambda number=number: between.counts.cuts > number)
                await all_well(system)
            system.healed()
        trial.note(f"{between.counts.cuts} frames cut, half of them towards the broker")


@scenario(quick=True)
async def confirms_lost(trial: Trial) -> None:
    """The broker stores what gateways send, and its confirms never arrive: published twice, delivered once."""
    async with _behind_a_proxy(trial, push=1, email=1, sms=1, start_workers=False) as (system, between):
        parcels = system.writer.write(300)
        between.hold_answers()
        posting = asyncio.create_task(system.load.post(parcels, at_once=100))
        await eventually_async(lambda: asyncio.to_thread(_held, trial, system))
        between.reset()
        between.pass_on()
        system.healed()
        statuses = [answer.status for answer in await posting]
        assert set(statuses) <= {202, 503}, f"answered {set(statuses)}"
        stored = await asyncio.to_thread(_settled, trial, system)
        assert stored > statuses.count(202), "no confirm was lost"
        trial.note(f"{statuses.count(202)} of {len(parcels)} answered 202, the rest 503; {stored} stored")
        await system.start_workers()


def _held(trial: Trial, system: System) -> int:
    return sum(held(trial.stage.rabbitmq, system.vhost).values())


def _settled(trial: Trial, system: System) -> int:
    """What the queues hold once their counters have stopped rising."""
    seen, count = -1, _held(trial, system)
    while seen != count:
        time.sleep(_COUNTERS_S)
        seen, count = count, _held(trial, system)
    return count


#: two ticks of the broker's counters, seconds
_COUNTERS_S = 1.2


@scenario()
async def slow_network(trial: Trial) -> None:
    """Every byte to and from the broker is 100 ms late: slower, and nothing else."""
    async with _behind_a_proxy(trial, push=1, email=1, sms=1) as (system, between):
        await some_are_retried(system)
        usual = await _throughput(system)
        between.latency(_LATENCY_S)
        late = await _throughput(system)
        await all_well(system)
        trial.note(
            f"posted by 50 at once and delivered: {usual:.0f}/s usually, {late:.0f}/s with 200 ms more a round trip"
        )
        system.healed()
        between.pass_on()


async def _throughput(system: System) -> float:
    """Notifications a second, from the first post to the last delivery."""
    parcels = system.writer.write(500)
    before, began = await system.providers.accepted_calls(), time.monotonic()
    await system.load.post(parcels)
    await system.delivered(before + len(parcels))
    return len(parcels) / (time.monotonic() - began)
