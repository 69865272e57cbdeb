"""Tests network faults between the application and RabbitMQ, made by a proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from tests.faults.harness.member import Member
from tests.faults.harness.scale import SHORT_LEASES
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import EVERYBODY, System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.collecting import held
from tests.faults.ledger.truth import all_well, gateways_say, workers_say
from tests.faults.load.traffic import flowing, some_are_retried
from tests.faults.proxy import Proxy, proxy
from tests.support.waiting import eventually_async

_RESETS = 8
_CUTS = 8
_LATENCY_S = 0.1
#: longer than any heartbeat needs to detect it, seconds
_BLACK_HOLE_S = 60.0


@asynccontextmanager
async def _behind_a_proxy(trial: Trial, **plan: Any) -> AsyncIterator[tuple[System, Proxy]]:
    """Runs a system whose gateways and workers reach the broker through a proxy."""
    async with (
        proxy([trial.stage.rabbitmq.ports.amqp]) as between,
        trial.system(amqp_ports={EVERYBODY: between.port}, **SHORT_LEASES, **plan) as system,
    ):
        yield system, between


@scenario()
async def connections_reset(trial: Trial) -> None:
    """Every connection to the broker is reset eight times under load, with its answers in flight: nothing is lost and
    nothing is delivered twice.
    """
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
        trial.note(f"{between.connections} connections made for 7 that were needed")


@scenario()
async def frames_cut(trial: Trial) -> None:
    """Connections break in the middle of a frame, in both directions: a half-received message is never taken for a
    message.
    """
    async with _behind_a_proxy(trial, push=1, email=1, sms=1) as (system, between):
        await some_are_retried(system)
        async with flowing(trial, system, 1200, per_s=100):
            for number in range(_CUTS):
                await system.delivered(50 * (number + 1))
                # Confirms and acks are shorter than this, so the cut frame is a message.
                between.cut_in_frame("down" if number % 2 else "up", least_bytes=100)
                await eventually_async(partial(_has_cut, between, number + 1))
                await all_well(system)
            system.healed()
        trial.note(f"{between.cuts} frames cut, half of them towards the broker")


def _has_cut(between: Proxy, times: int) -> bool:
    return between.cuts >= times


@scenario(quick=True)
async def confirms_lost(trial: Trial) -> None:
    """The broker stores messages from the gateways, but its confirms never arrive: the messages are published twice and
    delivered once.
    """
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
    """Returns the number of messages in the queues once their counters have stopped rising."""
    seen, count = -1, _held(trial, system)
    while seen != count:
        time.sleep(_COUNTERS_S)
        seen, count = count, _held(trial, system)
    return count


#: two ticks of the broker's counters, seconds
_COUNTERS_S = 1.2


@scenario()
async def slow_network(trial: Trial) -> None:
    """Every byte to and from the broker is 100 ms late: delivery is slower, and nothing else changes."""
    async with _behind_a_proxy(trial, push=1, email=1, sms=1) as (system, between):
        usual = await _throughput(system)
        between.latency(_LATENCY_S)
        late = await _throughput(system)
        await some_are_retried(system)
        async with flowing(trial, system, 500, per_s=100):
            await all_well(system)
        trial.note(
            f"posted by 50 at once and delivered: {usual:.0f}/s usually, {late:.0f}/s with 200 ms more a round trip"
        )
        between.pass_on()
        system.healed()


async def _throughput(system: System) -> float:
    """Returns the notifications per second, from the first post to the last delivery."""
    parcels = system.writer.write(500)
    before, began = await system.providers.accepted_calls(), time.monotonic()
    await system.load.post(parcels)
    await system.delivered(before + len(parcels))
    return len(parcels) / (time.monotonic() - began)


@scenario()
async def broker_black_hole(trial: Trial) -> None:
    """Nothing passes to the broker or back for 60 s: every request is answered, and delivery continues afterwards."""
    async with _behind_a_proxy(trial, push=1, email=1, sms=1) as (system, between):
        await some_are_retried(system)
        async with flowing(trial, system, 1900, per_s=28):
            await system.delivered(100)
            between.black_hole()
            lasting = asyncio.create_task(asyncio.sleep(_BLACK_HOLE_S))
            gateways_s, workers_s = await asyncio.gather(
                gateways_say(system, "blocked", "down", within_s=10), workers_say(system, "unhealthy", within_s=45)
            )
            await lasting
            between.pass_on()
            system.healed()
            well_s = await all_well(system)
        trial.note(
            f"the gateway said so after {gateways_s:.1f} s, workers after {workers_s:.1f} s; "
            f"all were well {well_s:.1f} s after healing"
        )


@scenario()
async def worker_cut_off(trial: Trial) -> None:
    """A worker with a full prefetch loses its connection to the broker, which redelivers its messages to another
    worker: each message is sent once.
    """
    async with (
        proxy([trial.stage.rabbitmq.ports.amqp]) as between,
        trial.system(push=2, amqp_ports={"push-0": between.port}, **SHORT_LEASES) as system,
    ):
        cut_off, other = system.workers
        async with flowing(trial, system, 1500, per_s=30):
            await system.delivered(100)
            await system.providers.fault("fcm", mode="slow", delay_ms=500)
            await system.load.publish(system.writer.write(300))
            await eventually_async(partial(_has_in_hand, system, cut_off, 50))
            between.black_hole()
            await system.providers.heal("fcm")
            noticed_s = await workers_say(system, "unhealthy", within_s=45, workers=[cut_off])
            await eventually_async(lambda: system.counted().get("duplicates", 0) > 0, 45)
            await workers_say(system, "healthy", within_s=1, workers=[other])
            between.pass_on()
            system.healed()
            well_s = await all_well(system)
        copies = system.counted()["duplicates"]
        trial.note(f"it said so after {noticed_s:.1f} s, and was well {well_s:.1f} s after healing")
        trial.note(f"{copies} messages that it had sent were given to the other, which sent none of them again")


async def _has_in_hand(system: System, worker: Member, least: int) -> bool:
    return int(str((await system.health_of(worker))["in_flight"])) >= least
