"""Tests workers that are killed at any moment and at every point of a delivery, stopped in good order, or frozen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.faults.faults.disconnecting import close_consuming
from tests.faults.harness.member import Member
from tests.faults.harness.scale import UNHURRIED, scaled_settings
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.harness.worker_process import POINTS
from tests.faults.ledger.blame import second_sends_by_death
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.ledgers import Ledgers
from tests.faults.load.envelopes import Parcel
from tests.faults.load.traffic import unending
from tests.support.waiting import eventually_async

KILLS = 25
#: prefetch of a worker that is killed at random
IN_HAND = 32
#: delay of the provider, so that a death finds messages in flight, milliseconds
SLOW_MS = 20
#: the same delay for workers that are stopped in good order, milliseconds
STOPPED_MS = 200
#: how often each of them is stopped
STOPS_EACH = 3
#: with one message in flight, a death at this point causes exactly this number of second sends
DOUBLES_AT = {"after_claim": 0, "before_send": 0, "after_send": 1, "after_done": 0, "before_ack": 0}
#: the product's default for PREFETCH
FULL_PREFETCH = 256


async def send(system: System, parcels: Sequence[Parcel]) -> None:
    """Sends all parcels at once, alternately over HTTP and directly onto the queues."""
    await asyncio.gather(system.load.post(parcels[::2]), system.load.publish(parcels[1::2]))


async def ended(member: Member, times: int) -> None:
    """Waits until this number of the member's lives is over."""
    await eventually_async(lambda: len(member.ends) >= times, 40)


@scenario(Bounds(doubles=KILLS * IN_HAND), quick=True, drawn=True)
async def random_kills(trial: Trial) -> None:
    """Two workers with up to 32 messages in flight are killed 25 times at random moments: nothing is lost, each death
    sends no more messages a second time than were in flight, and each second send is counted.
    """
    async with trial.system(push=2, variables={"PREFETCH": str(IN_HAND)}) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
        parcels = system.writer.write(3000)
        share = len(parcels) // KILLS
        for kill in range(KILLS):
            # The death comes during the work on this share, or on messages that the last death has left behind.
            target = await system.providers.accepted_calls() + trial.draw.randrange(1, share)
            await send(system, parcels[kill * share : (kill + 1) * share])
            await system.delivered(target)
            await kill_one(trial, system)
        system.healed()
    assert system.deaths == KILLS, f"{system.deaths} deaths"
    trial.note(f"{KILLS} kills: {_counted(system.ledgers)}")


async def kill_one(trial: Trial, system: System) -> None:
    """Kills one worker that runs, drawn at random."""
    await eventually_async(lambda: any(worker.runs for worker in system.workers))
    victim = trial.draw.choice([worker for worker in system.workers if worker.runs])
    lives = len(victim.ends) + 1
    victim.kill()
    await ended(victim, lives)


@scenario(Bounds(doubles_exactly=sum(DOUBLES_AT.values())), quick=True)
async def death_at_each_point(trial: Trial) -> None:
    """A worker with one message in flight dies at each point of a delivery in turn: only a death between the provider's
    acceptance and its record sends the message again, and exactly that one message.
    """
    async with trial.system(push=1, variables={"PREFETCH": "1"}, points=POINTS, nth=10) as system:
        await send(system, system.writer.write(150))
        await ended(system.workers[0], len(POINTS))
        system.healed()
    table = doubles_by_point(system)
    trial.note(_said(table))
    assert table == DOUBLES_AT, _said(table)


@scenario(Bounds(doubles=FULL_PREFETCH * len(POINTS)), drawn=True)
async def death_at_each_point_with_full_hands(trial: Trial) -> None:
    """A worker with 256 messages in flight dies at each point of a delivery in turn: each death sends no more messages
    again than were in flight.
    """
    nth = trial.draw.randrange(50, 200)
    async with trial.system(push=1, points=POINTS, nth=nth) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
        await send(system, system.writer.write(2000))
        await ended(system.workers[0], len(POINTS))
        system.healed()
    table = doubles_by_point(system)
    trial.note(f"at passing {nth}, {_said(table)}")
    assert max(table.values()) <= FULL_PREFETCH, _said(table)


def doubles_by_point(system: System) -> dict[str, int]:
    """Returns the number of second sends that each death of the only worker has caused, by the point of death."""
    *by_death, later = second_sends_by_death(system.ledgers, system.workers[0])
    assert not later, f"{later} sent twice after the last death"
    return dict(zip(POINTS, by_death, strict=True))


def _said(table: dict[str, int]) -> str:
    return "point -> sent twice: " + ", ".join(f"{point} {count}" for point, count in table.items())


@scenario(quick=True, drawn=True)
async def orderly_stops(trial: Trial) -> None:
    """Workers of all channels are ended with SIGTERM and started again, over and over, while messages arrive: nothing
    is sent twice and nothing ends in failed.queue.
    """
    async with trial.system(push=2, email=1, sms=1, **UNHURRIED) as system:
        # Each stop has to happen while sends are in progress.
        for provider in ("fcm", "smtp", "twilio"):
            await system.providers.fault(provider, mode="slow", delay_ms=STOPPED_MS)
        stops = trial.draw.sample(system.workers * STOPS_EACH, len(system.workers) * STOPS_EACH)
        async with unending(trial, system, per_s=75, unwanted=0.07):
            await system.delivered(100)
            for worker in stops:
                worker.terminate()
                await ended(worker, len(worker.ends) + 1)
                await system.ready(worker, "/health")
        system.healed()
        trial.note(f"{len(stops)} stops")
    assert not system.deaths, f"{system.deaths} did not end with 0"


@scenario(Bounds(doubles=IN_HAND, overlaps=True))
async def frozen_longer_than_its_lease(trial: Trial) -> None:
    """A worker is frozen until its leases have run out and the broker has redelivered its messages to another worker,
    and then continues: it sends nothing that it had not begun to send, and each send that it had begun is counted.
    """
    async with trial.system(push=2, variables={"PREFETCH": str(IN_HAND)}) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=200)
        await send(system, system.writer.write(1000))
        await system.delivered(100)
        frozen = system.workers[0]
        frozen.freeze()
        # The broker does this by itself once it has missed two heartbeats, half a minute later.
        await close_consuming(trial.stage.rabbitmq.management, system.vhost, frozen)
        await asyncio.sleep(scaled_settings().idempotency.lease_s)
        await eventually_async(lambda: system.counted().get("takeovers", 0) > 0, 30)
        frozen.thaw()
        system.healed()
    trial.note(_counted(system.ledgers))


def _counted(ledgers: Ledgers) -> str:
    names = ("takeovers", "lease_lost", "ambiguous", "duplicates")
    return ", ".join(f"{name} {ledgers.counted[name]}" for name in names)
