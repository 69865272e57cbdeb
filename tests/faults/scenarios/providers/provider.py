"""Tests a provider that is down, partly down, slow, or silent, or that accepts a call and resets the connection."""

from __future__ import annotations

import asyncio

from tests.faults.harness.scale import PATIENT_S
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.backlog import Backlog, watched
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.collecting import drained
from tests.faults.ledger.truth import workers_pause
from tests.faults.ledger.worker_log import breaker_changes, opened
from tests.faults.load.traffic import flowing
from tests.support.waiting import eventually_async

#: most messages that a worker has in flight; the product's default is 256
PREFETCH = 64
FEW = {"PREFETCH": str(PREFETCH)}
DOWN_S = 60.0
SHORT_S = 20.0
#: a worker reports a pause within this time after its breaker opened, and again after a probe, seconds
PAUSES_S = 3.0
#: the number of messages sent; no more messages than this can reach the maximum of a channel's attempts
FLAKY = 600
FLAKY_S = 12.0
#: the breaker counts calls slower than this as slow, seconds; a call is given up after 0.5 s
SLOW_S, SLOW_MS = 0.1, 200


@scenario()
async def provider_down(trial: Trial) -> None:
    """The channel's only provider answers 503 for 60 s: the backlog waits in its queue, and no attempts are spent."""
    async with trial.system(push=1, variables=FEW, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="status", status=503)
        async with watched(system, "push") as backlog:
            async with flowing(trial, system, 1500, per_s=300):
                await opened(system.workers, "fcm")
            await last(trial, system, backlog, DOWN_S)
        await system.providers.heal()
        system.healed()


@scenario()
async def provider_down_with_all_in_hand(trial: Trial) -> None:
    """The provider answers 503 to every call from the moment at which exactly one prefetch of calls is in progress: the
    rest of the backlog stays in its queue.
    """
    async with trial.system(push=1, variables=FEW, start_workers=False, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
        await system.load.publish(system.writer.write(1000))
        async with watched(system, "push") as backlog:
            await system.start_workers()
            await system.delivered(PREFETCH)
            await system.providers.fault("fcm", mode="status", status=503, delay_ms=SLOW_MS)
            await opened(system.workers, "fcm")
            await last(trial, system, backlog, SHORT_S)
        await system.providers.heal()
        system.healed()


async def last(trial: Trial, system: System, backlog: Backlog, seconds: float) -> None:
    """Lets the outage of fcm last, and compares the observations with the promises."""
    await workers_pause(system, PAUSES_S)
    calls, probes = await system.providers.calls("fcm"), probes_of(system)
    await asyncio.sleep(seconds)
    more, tried = await system.providers.calls("fcm") - calls, probes_of(system) - probes
    trial.note(f"{seconds:.0f} s paused: {more} calls, {tried} probes; {backlog}; {backlog.waiting} waited")
    await workers_pause(system, PAUSES_S)
    assert more == tried, f"{more} calls while the breaker was open, but {tried} probes"
    # The breaker doubles its open time after each probe: 1.5, 3, 6 and 12 s, each varied by a fifth, and never more
    # than 15 s.
    fewest = 2 if seconds <= SHORT_S else 4
    assert tried >= fewest, (
        f"the breaker: {tried} probes in {seconds:.0f} s, {fewest} expected; late answers kept it open"
    )
    assert backlog.elsewhere <= 2 * PREFETCH, f"more than two prefetches of {PREFETCH} left their queue: {backlog}"
    assert not backlog.failed, f"an outage is no message's end: {backlog}"
    assert backlog.waiting, f"no backlog: nothing was proved ({backlog})"


def probes_of(system: System) -> int:
    return len(breaker_changes(system.workers, "fcm", "half_open"))


@scenario(Bounds(failed={"attempts_exhausted": (0, FLAKY)}), drawn=True)
async def provider_half_down(trial: Trial) -> None:
    """The provider answers half of all calls, drawn at random, with 503, and later accepts all calls: each message is
    delivered, or is given up after its last attempt.
    """
    await flaky(trial, 0.5)


@scenario(Bounds(failed={"attempts_exhausted": (0, FLAKY)}), drawn=True)
async def provider_mostly_down(trial: Trial) -> None:
    """The provider answers four of five calls, drawn at random, with 503, and later accepts all calls: each message is
    delivered, or is given up after its last attempt.
    """
    await flaky(trial, 0.8)


async def flaky(trial: Trial, rate: float) -> None:
    async with trial.system(push=2, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="status", status=503, rate=rate)
        async with flowing(trial, system, FLAKY, per_s=150):
            await asyncio.sleep(FLAKY_S)
        await system.providers.heal()
        system.healed()
        trial.note(f"breakers opened {len(breaker_changes(system.workers, 'fcm', 'open'))} times")
    trial.note(f"at most {max(system.ledgers.tries.values())} calls for one message")


@scenario()
async def provider_slow(trial: Trial) -> None:
    """The provider answers every call in time, but more slowly than the breaker allows: the breaker opens, and nothing
    is sent twice.
    """
    async with trial.system(push=1, variables={"BREAKER_SLOW_S": str(SLOW_S)}, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="slow", delay_ms=SLOW_MS)
        async with flowing(trial, system, 600, per_s=150):
            change = await opened(system.workers, "fcm")
        assert "slower" in change.why, change.why
        await system.providers.heal()
        system.healed()


@scenario()
async def provider_hanging(trial: Trial) -> None:
    """The provider neither answers nor accepts any call until it is repaired: each call is counted as ambiguous, and
    nothing is sent twice.
    """
    async with trial.system(push=1, variables=FEW) as system:
        await system.providers.fault("fcm", mode="timeout")
        async with watched(system, "push") as backlog, flowing(trial, system, 600, per_s=150):
            await opened(system.workers, "fcm")
        await system.providers.heal()
        system.healed()
        assert backlog.elsewhere <= 2 * PREFETCH, str(backlog)
        trial.note(f"{system.counted()['ambiguous']} calls were given up; {backlog}")


@scenario(drawn=True)
async def provider_accepts_then_resets(trial: Trial) -> None:
    """The provider accepts calls and then resets the connection, at first for some calls, later for all: only those
    messages may be sent twice.
    """
    async with trial.system(push=1, variables=FEW, provider_timeout_s=PATIENT_S) as system:
        await system.providers.fault("fcm", mode="reset_after_accept", rate=0.1)
        async with flowing(trial, system, 900, per_s=150):
            await system.delivered(300)
            await system.providers.fault("fcm", mode="reset_after_accept")
            await opened(system.workers, "fcm")
            await eventually_async(lambda: probes_of(system) >= 1, 20)
        await system.providers.heal()
        system.healed()
        await drained(system.broker, system.vhost, trial.bounds.drain_s)
        trial.bounds.doubles = system.counted()["ambiguous"]
        trial.note(f"{trial.bounds.doubles} accepted calls whose answer was cut, each counted")
