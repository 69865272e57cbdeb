"""Tests a Redis that loses its data, dies, is full, or does not answer."""

from __future__ import annotations

import asyncio
import time

from ops.servers import RedisServer
from tests.faults.faults.redis_faults import flush, kill_between_fsyncs, limit
from tests.faults.harness.production import refused_in_production
from tests.faults.harness.scale import PATIENT_S
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.collecting import drained
from tests.faults.ledger.truth import workers_pause
from tests.faults.load.traffic import flowing
from tests.faults.proxy import proxy
from tests.support.run.servers import run_ports
from tests.support.waiting import eventually_async

#: most messages that one worker has in flight in the scenarios in which a worker dies too
IN_HAND = 32
#: delay of the provider, so that some calls are always in progress, milliseconds
SLOW_MS = 100
BLACK_HOLE_S = 20.0
FULL_S = 5.0


@scenario(quick=True)
async def redis_flushed(trial: Trial) -> None:
    """FLUSHALL is run five times under load, so that claims vanish while sends are in progress: nothing is sent twice,
    since no worker dies.
    """
    async with trial.system(push=2, sms=1, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
        async with flowing(trial, system, 1000, per_s=200):
            for nth in range(1, 6):
                await system.delivered(nth * 150)
                await asyncio.to_thread(flush, trial.stage.redis)
        assert system.counted()["lease_lost"], "no claim was lost: FLUSHALL met nothing under way"
        note_counted(trial, system, "lease_lost", "state_lost")


@scenario(Bounds(doubles=3 * IN_HAND), quick=True)
async def redis_flushed_as_workers_die(trial: Trial) -> None:
    """A worker is killed with SIGKILL and Redis is flushed at the same time, three times: only messages that were in
    flight in the dead worker may be sent twice.
    """
    async with trial.system(push=2, provider_timeout_s=PATIENT_S, variables={"PREFETCH": str(IN_HAND)}) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
        async with flowing(trial, system, 1000, per_s=200):
            for nth in range(1, 4):
                await system.delivered(nth * 200)
                trial.draw.choice(system.workers).kill()
                await asyncio.to_thread(flush, trial.stage.redis)
        note_counted(trial, system, "state_lost", "lease_lost", "takeovers")


@scenario(quick=True)
async def redis_killed(trial: Trial) -> None:
    """Redis is killed with SIGKILL three times, once until the workers pause: nothing is sent twice, and everything
    that was recorded is still known afterwards.

    Every message is sent a second time at the end: only those that the workers themselves counted as unrecorded are
    sent again.
    """
    server = trial.stage.redis
    async with trial.system(push=2, sms=1, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
        async with flowing(trial, system, 1000, per_s=150) as parcels:
            for nth in range(1, 4):
                await system.delivered(nth * 200)
                await asyncio.to_thread(kill_between_fsyncs, server)
                try:
                    if nth == 2:
                        await workers_pause(system, within_s=5)
                        await eventually_async(lambda: "marker_lost" in system.counted())
                finally:
                    await asyncio.to_thread(server.start)
        system.healed()
        await drained(system.broker, system.vhost, trial.bounds.drain_s)
        once = await system.providers.accepted_calls()
        assert once == len(parcels), f"{once} calls for {len(parcels)} messages before anything was sent again"
        await system.load.publish(parcels)
        await drained(system.broker, system.vhost, trial.bounds.drain_s)
        # Not all of them: Redis may have written a record and died before it said so.
        trial.bounds.doubles = system.counted()["marker_lost"]
        note_counted(trial, system, "marker_lost", "takeovers", "duplicates")


@scenario()
async def redis_full(trial: Trial) -> None:
    """Redis is full for 5 s: workers pause, the gateway accepts requests, and everything continues by itself when there
    is room again.
    """
    async with trial.system(push=2, sms=1, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
        async with flowing(trial, system, 1000, per_s=100):
            await system.delivered(200)
            await asyncio.to_thread(limit, trial.stage.redis, "1")
            began_at = time.time()
            try:
                await workers_pause(system, within_s=5)
                await asyncio.sleep(FULL_S)
                health = await system.health_of(system.gateways[0])
            finally:
                await asyncio.to_thread(limit, trial.stage.redis, "0")
                system.healed()
        assert health["status"] == "degraded", f"the gateway's health said {health['status']}"
        assert_accepted(system, began_at)
        note_counted(trial, system, "marker_lost", "takeovers")


@scenario()
async def redis_black_hole(trial: Trial) -> None:
    """Redis does not answer for 20 s while its connections stay open: workers pause and report it, and the gateway
    accepts requests.
    """
    async with (
        proxy([trial.stage.redis.port]) as between,
        trial.system(
            push=2, sms=1, provider_timeout_s=PATIENT_S, redis_url=f"redis://127.0.0.1:{between.port}/0"
        ) as system,
    ):
        await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
        async with flowing(trial, system, 1500, per_s=60):
            await system.delivered(100)
            between.black_hole()
            began_at = time.time()
            await workers_pause(system, within_s=5)
            await asyncio.sleep(BLACK_HOLE_S - (time.time() - began_at))
            health = await system.health_of(system.gateways[0])
            await workers_pause(system, within_s=0)
            between.pass_on()
            system.healed()
        assert health["redis"] == "down", f"the gateway's health said {health}"
        assert_accepted(system, began_at)
        note_counted(trial, system, "marker_lost", "takeovers")


@scenario(Bounds(doubles=IN_HAND))
async def redis_without_append_only_file(trial: Trial) -> None:
    """A Redis without append-only file is killed with SIGKILL together with a worker: the number of messages sent twice
    is bounded, the workers warn at their start, and in production they refuse to start.
    """
    server = RedisServer(trial.directory / "redis", port=run_ports(1)[0], append_only=False)
    await asyncio.to_thread(server.start)
    try:
        async with trial.system(
            push=2, provider_timeout_s=PATIENT_S, redis_url=server.url, variables={"PREFETCH": str(IN_HAND)}
        ) as system:
            await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
            said = await refused_in_production(system)
            assert "appendonly" in said, f"refused without saying why: {said}"
            async with flowing(trial, system, 1000, per_s=200):
                await system.delivered(400)
                trial.draw.choice(system.workers).kill()
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                system.healed()
            for worker in system.workers:
                said = worker.log.read_text()
                assert '"event":"redis_is_unfit_for_production"' in said, f"{worker.name} did not warn"
            note_counted(trial, system, "state_lost", "lease_lost", "marker_lost")
    finally:
        await asyncio.to_thread(server.kill)


@scenario()
async def redis_killed_and_told_to_proceed(trial: Trial) -> None:
    """Redis is killed while IDEMPOTENCY_ON_REDIS_DOWN=proceed is set: deliveries continue without claims, and nothing
    pauses.
    """
    server = trial.stage.redis
    async with trial.system(
        push=2, sms=1, provider_timeout_s=PATIENT_S, variables={"IDEMPOTENCY_ON_REDIS_DOWN": "proceed"}
    ) as system:
        async with flowing(trial, system, 800, per_s=150):
            await system.delivered(200)
            await asyncio.to_thread(server.kill)
            try:
                await system.delivered(800, deadline_s=30)
                health = [await system.health_of(worker) for worker in system.workers]
                assert not any(each["paused"] for each in health), "paused although told to proceed"
            finally:
                await asyncio.to_thread(server.start)
        system.healed()
        assert system.counted()["marker_lost"], "nothing was counted as unrecorded"
        note_counted(trial, system, "marker_lost")


def note_counted(trial: Trial, system: System, *names: str) -> None:
    counted = system.counted()
    trial.note(", ".join(f"{name} {counted.get(name, 0)}" for name in names))


def assert_accepted(system: System, since: float) -> None:
    """Asserts that every notification posted since then was answered 202: duplicates are prevented by the consumers'
    claim.
    """
    answers = [a for a in system.ledgers.answers if a.at > since and a.what.startswith("POST")]
    refused = [answer for answer in answers if answer.status != 202]
    assert answers and not refused, f"{len(refused)} of {len(answers)} not accepted, such as {refused[:3]}"
