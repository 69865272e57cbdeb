"""Tests that trouble in one lane of a channel does not affect any other lane."""

from __future__ import annotations

import asyncio

from shared.broker.topology import retry_exchange, retry_queue
from shared.message.channels import Lane
from tests.faults.faults.operator import BrokerOperator
from tests.faults.harness.scale import SHORT_LEASES, UNHURRIED, scaled_settings
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.checker import percentile
from tests.faults.ledger.truth import all_well, workers_say
from tests.faults.ledger.worker_log import returned_after_s
from tests.faults.load.envelopes import Parcel
from tests.faults.load.traffic import some_are_retried
from tests.support.waiting import eventually_async

_LOW = Lane("push", "low")
#: a lane is full when this number of messages waits in it
_LIMIT = 50
#: share of calls that are refused once
_REFUSED = 0.2
#: a message that is refused five times in a row is back only after half a minute, seconds
_ALL_BACK_S = 90
#: retries of the other lanes may take this factor longer than usual, to allow for variations of the machine
_SAME_WITHIN = 1.5
_MOOD_S = 0.3


@scenario()
async def lane_over_its_limit(trial: Trial) -> None:
    """One lane is full, first by a policy and then by QUEUE_MAX_READY: requests for it are answered 503 with
    Retry-After, requests for all others 202.
    """
    async with trial.system(push=1, start_workers=False, **UNHURRIED) as system:
        operator = BrokerOperator(trial.stage.rabbitmq, system.vhost)
        await operator.limit(rf"^{_LOW.queue}$", _LIMIT)
        await _only_low_is_refused(trial, system, "a policy")
        await operator.lift_limit()
        await _everything_flows_again(system)
    limited = UNHURRIED["variables"] | {"QUEUE_MAX_READY": str(_LIMIT)}
    async with trial.system(push=1, start_workers=False, **UNHURRIED | {"variables": limited}) as system:
        await _only_low_is_refused(trial, system, "QUEUE_MAX_READY")
        await _everything_flows_again(system)


async def _only_low_is_refused(trial: Trial, system: System, limited_by: str) -> None:
    async def full() -> bool:
        [answer] = await system.load.post(system.writer.write(1, priority="low"))
        return answer.status == 503

    filled = await system.load.post(system.writer.write(2 * _LIMIT, priority="low"))
    await eventually_async(full, poll_s=0.2)
    low = await system.load.post(system.writer.write(100, priority="low"))
    others = await system.load.post(
        [parcel for priority in ("high", "medium") for parcel in system.writer.write(200, priority=priority)]
    )
    assert {answer.status for answer in low} == {503}, f"the full lane answered {[answer.status for answer in low]}"
    assert {answer.status for answer in others} == {202}, "another lane was refused"
    slowest_s = max(answer.seconds for answer in others)
    taken = sum(answer.status == 202 for answer in filled)
    trial.note(f"{limited_by}: {taken} taken, then 503; other lanes' slowest answer {slowest_s:.2f} s")


async def _everything_flows_again(system: System) -> None:
    async def taken_again() -> bool:
        [answer] = await system.load.post(system.writer.write(1, priority="low"))
        return answer.status == 202

    await system.start_workers()
    system.healed()
    await eventually_async(taken_again, poll_s=0.2)
    await all_well(system)


@scenario()
async def ladder_of_one_lane_full(trial: Trial) -> None:
    """The ladder of one lane is full: messages that must be forwarded to it wait and are not lost, and the retries of
    other lanes take their usual time.
    """
    async with trial.system(push=1, **UNHURRIED) as system:
        operator = BrokerOperator(trial.stage.rabbitmq, system.vhost)
        await some_are_retried(system, _REFUSED)
        usual_s = await _retries_of_others(system)
        await operator.limit(r"^retry\.push\.low\.", 0)
        await system.load.publish(system.writer.write(200, priority="low"))
        hurt_s = await _retries_of_others(system)
        waited = system.workers[0].log.read_bytes().count(b'"event":"forward_repeated"')
        assert waited, "no hand-on met the full ladder"
        await operator.lift_limit()
        system.healed()
        _same(trial, usual_s, hurt_s)
        trial.note(f"{waited} tries to hand on were refused meanwhile")


@scenario()
async def lane_missing(trial: Trial) -> None:
    """One lane loses first its ladder and then its queue, no application may declare either, and all connections are
    closed: its retries wait, and those of all other lanes come back as usual.
    """
    async with trial.system(push=1, **SHORT_LEASES) as system:
        operator = BrokerOperator(trial.stage.rabbitmq, system.vhost)
        await some_are_retried(system, _REFUSED)
        usual_s = await _retries_of_others(system)
        await _ladder_missing(trial, system, operator, usual_s)
        await operator.forbid_declaring(_LOW.queue)
        await operator.delete_queue(_LOW.queue)
        await operator.close_connections()
        await all_well(system)
        # There are more than the 32 messages per source queue that the broker's dead-letter worker keeps unconfirmed.
        level_s = scaled_settings().broker.retry_levels_s[0]
        await system.load.publish(system.writer.write(100, priority="low"), exchange=retry_exchange(level_s))
        refused = asyncio.create_task(system.load.post(system.writer.write(50, priority="low")))
        hurt_s = await _retries_of_others(system)
        await operator.allow_all()
        assert {answer.status for answer in await refused} == {503}, "a lane that is missing was said to take"
        system.healed()
        await operator.bound(_LOW)
        await all_well(system)
        _same(trial, usual_s, hurt_s)


async def _ladder_missing(trial: Trial, system: System, operator: BrokerOperator, usual_s: list[float]) -> None:
    """Deletes the ladder of the low lane, and closes all connections while messages wait to be forwarded to it."""
    ladder = [retry_queue(_LOW, level_s) for level_s in scaled_settings().broker.retry_levels_s]
    await operator.forbid_declaring(*ladder)
    for queue in ladder:
        await operator.delete_queue(queue)
    parcels = system.writer.write(100, priority="low")
    await system.load.publish(parcels)
    await workers_say(system, "degraded", within_s=15)
    forwards = (await system.health_of(system.workers[0]))["forwards"]
    await operator.close_connections()
    await all_well(system)
    hurt_s = await _retries_of_others(system)
    await operator.allow_all()
    log = system.workers[0].log
    await eventually_async(lambda: returned_after_s(log, parcels) is not None, _ALL_BACK_S, 0.2)
    trial.note(f"{forwards} messages waited for their ladder when the connections were closed")
    _same(trial, usual_s, hurt_s)


async def _retries_of_others(system: System) -> list[float]:
    """Sends messages to the other two lanes. Returns how long the retried ones took, in seconds."""
    parcels: list[Parcel] = []
    for number in range(400):
        parcels += system.writer.write(1, priority=("high", "medium")[number % 2])
    await system.load.stream(parcels, per_s=100, draw=system.draw)
    log = system.workers[0].log

    async def all_delivered() -> bool:
        return await asyncio.to_thread(returned_after_s, log, parcels) is not None

    await eventually_async(all_delivered, _ALL_BACK_S, 0.2)
    return returned_after_s(log, parcels) or []


def _same(trial: Trial, usual_s: list[float], hurt_s: list[float]) -> None:
    usual, hurt = percentile(usual_s, 0.9), percentile(hurt_s, 0.9)
    trial.note(
        f"other lanes' retries, 9 of 10 within: {usual:.2f} s before ({len(usual_s)}), {hurt:.2f} s beside the "
        f"broken lane ({len(hurt_s)})"
    )
    assert hurt <= usual * _SAME_WITHIN + _MOOD_S, f"other lanes' retries took {hurt:.2f} s instead of {usual:.2f} s"
