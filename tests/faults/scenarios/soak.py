"""Tests the system under ten minutes of random faults."""

from __future__ import annotations

import asyncio
import os

from shared.http.client import POOL_IDLE_S
from tests.faults.faults.operator import on_disk
from tests.faults.faults.random_faults import FAULTS, IN_HAND, Ground, Strike, schedule
from tests.faults.harness.member import Member
from tests.faults.harness.scale import PATIENT_S
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import EVERYBODY, System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.collecting import drained
from tests.faults.load.traffic import flowing
from tests.faults.proxy import proxy
from tests.support.waiting import eventually_async

MINUTES = 10.0
#: the most messages in all, and the highest rate, messages per second
MESSAGES, PER_S = 5000, 25.0
#: longer than a connection may idle in its pool, seconds
IDLE_S = POOL_IDLE_S + 2
#: more requests than a gateway lets wait (``gateway.wiring.MAX_WAITING``), and for how long they wait, seconds
CROWD, CROWDED_S = 160, 1.5
#: workers that may be killed at any time; the other workers run through the whole soak
MORTAL = ("push-0", "sms-0")
#: time for starting, and for draining messages on the ladder's upper levels, seconds
BEYOND_S = 420.0


def soak_s() -> float:
    """Returns the length of the soak in seconds; ``NOTIFY_SOAK_MINUTES`` overrides it."""
    return 60 * float(os.environ.get("NOTIFY_SOAK_MINUTES", MINUTES))


@scenario(Bounds(overlaps=True, drain_s=240.0), drawn=True, on_demand=True, longest_s=soak_s() * 1.5 + BEYOND_S)
async def soak(trial: Trial) -> None:
    """Random faults strike one after another for ten minutes: nothing is lost, no more messages are sent twice than the
    drawn faults allow, and nothing leaks.
    """
    stage, planned_s = trial.stage, soak_s()
    per_s = min(PER_S, MESSAGES / planned_s)
    async with (
        proxy([stage.rabbitmq.ports.amqp]) as to_broker,
        proxy([stage.redis.port]) as to_redis,
        trial.system(
            push=2,
            email=1,
            sms=1,
            amqp_ports={EVERYBODY: to_broker.port},
            redis_url=f"redis://127.0.0.1:{to_redis.port}/0",
            provider_timeout_s=PATIENT_S,
            variables={"PREFETCH": str(IN_HAND)},
        ) as system,
    ):
        # Everything random is drawn before the load begins: the same seed gives the same schedule.
        strikes = schedule(trial.draw, planned_s, [worker.name for worker in system.workers], MORTAL)
        trial.bounds.doubles = sum(strike.doubles for strike in strikes)
        await on_disk(stage.rabbitmq, system.vhost)
        ground = Ground(stage, system, (to_broker, to_redis), MORTAL)
        # Every fault strikes once in the first part, and pools and caches fill up: whatever still grows in the second
        # part is a leak.
        first = max(len(FAULTS), len(strikes) // 3)
        happened = await suffer(trial, ground, strikes[:first], per_s)
        # The number of connections to senders and providers varies with the traffic; the number of all others must stay
        # the same.
        members = survivors(system)
        aside = {system.providers.port, system.providers.smtp_port, *(member.port for member in members)}
        before = {member.name: (member.pid, member.resources(aside)) for member in members}
        happened += await suffer(trial, ground, strikes[first:], per_s)
        for member in members:
            pid, held = before[member.name]
            assert member.pid == pid, f"{member.name} died although nobody killed it"
            system.ledgers.resources.append(member.grown_since(held, aside))
        note(trial, system, happened)


def survivors(system: System) -> list[Member]:
    return [*system.gateways, *(worker for worker in system.workers if worker.name not in MORTAL)]


async def suffer(trial: Trial, ground: Ground, strikes: list[Strike], per_s: float) -> list[str]:
    """Carries out a part of the schedule under load, lets the system become idle, and returns
    which fault struck when.
    """
    count = round(sum(strike.planned_s for strike in strikes) * per_s)
    async with flowing(trial, ground.system, count, per_s=per_s):
        happened = await strike_all(ground, strikes)
        ground.system.healed()
    await crowded(ground)
    await settled(trial, ground.system)
    return happened


async def crowded(ground: Ground) -> None:
    """Lets as many requests wait at the gateway as it accepts.

    Afterwards the number of its threads, and of the descriptors that each keeps open, is at its maximum. Otherwise a
    later peak would be taken for a leak.
    """
    to_broker, system = ground.between[0], ground.system
    to_broker.hold_answers()
    waiting = asyncio.create_task(system.load.post(system.writer.write(CROWD), at_once=CROWD))
    await asyncio.sleep(CROWDED_S)
    to_broker.pass_on()
    await waiting


async def settled(trial: Trial, system: System) -> None:
    """Waits until every queue is empty, no worker has a message in flight, and idle connections are closed."""
    await drained(system.broker, system.vhost, trial.bounds.drain_s)

    async def idle() -> bool:
        return all([(await system.health_of(worker))["in_flight"] == 0 for worker in system.workers])

    await eventually_async(idle, trial.bounds.drain_s)
    await asyncio.sleep(IDLE_S)


async def strike_all(ground: Ground, strikes: list[Strike]) -> list[str]:
    """Carries out the schedule and prints it as it happens. Returns each fault with the second at which it struck."""
    happened = []
    for strike in strikes:
        await asyncio.sleep(strike.pause_s)
        happened.append(f"{ground.seconds():.1f} {strike}")
        print(f"    soak: {happened[-1]}", flush=True)
        await FAULTS[strike.fault].act(ground, strike)
    return happened


def note(trial: Trial, system: System, happened: list[str]) -> None:
    counted = system.counted()
    names = ("takeovers", "lease_lost", "state_lost", "marker_lost", "ambiguous", "duplicates")
    trial.note(f"{len(happened)} faults, {system.deaths} deaths of workers")
    trial.note(", ".join(f"{name} {counted.get(name, 0)}" for name in names))
    for grown in system.ledgers.resources:
        held = ", ".join(f"{name} {grown.before[name]:.0f} -> {grown.after[name]:.0f}" for name in grown.before)
        trial.note(f"{grown.process} lived through it: {held}")
    trial.note("schedule (second, fault): " + "; ".join(happened))
