"""Tests RabbitMQ being killed, restarted, unresponsive, or out of memory."""

from __future__ import annotations

import asyncio

from tests.faults.faults.operator import BrokerOperator, on_disk
from tests.faults.harness.scale import SHORT_LEASES
from tests.faults.harness.scenario import scenario
from tests.faults.harness.trial import Trial
from tests.faults.ledger.truth import all_say_down, all_well, gateways_say, workers_say
from tests.faults.ledger.worker_log import delivered_of
from tests.faults.load.traffic import flowing, some_are_retried, unending
from tests.support.waiting import eventually_async

#: longer than any deadline or heartbeat of the product, seconds
FROZEN_S = 35.0
#: longer than a blocked connection is kept, seconds
ALARM_S = 15.0
#: messages that wait for a worker when the alarm begins
BACKLOG = 200


@scenario(quick=True)
async def broker_killed(trial: Trial) -> None:
    """RabbitMQ is killed with SIGKILL during publishing and consuming, and is started again: nothing is lost and
    nothing is delivered twice.
    """
    rabbitmq = trial.stage.rabbitmq
    async with trial.system(push=1, email=1, sms=1, **SHORT_LEASES) as system:
        await on_disk(rabbitmq, system.vhost)
        await some_are_retried(system)
        async with flowing(trial, system, 1200, per_s=120):
            await system.delivered(200)
            await asyncio.to_thread(rabbitmq.kill)
            noticed_s = await all_say_down(system, within_s=5)
            await asyncio.to_thread(rabbitmq.start)
            system.healed()
            well_s = await all_well(system)
        trial.note(f"all /health said so after {noticed_s:.1f} s, and were well {well_s:.1f} s after the restart")


@scenario()
async def broker_restarted(trial: Trial) -> None:
    """RabbitMQ is stopped in good order under traffic and started again: nothing is lost and nothing is delivered
    twice.
    """
    rabbitmq = trial.stage.rabbitmq
    async with trial.system(push=1, email=1, sms=1, **SHORT_LEASES) as system:
        await some_are_retried(system)
        async with flowing(trial, system, 1500, per_s=100):
            await system.delivered(200)
            stopping = asyncio.create_task(asyncio.to_thread(rabbitmq.stop))
            noticed_s = await all_say_down(system, within_s=20)
            await stopping
            await asyncio.to_thread(rabbitmq.start)
            system.healed()
            well_s = await all_well(system)
        trial.note(f"all /health said so after {noticed_s:.1f} s, and were well {well_s:.1f} s after the restart")


@scenario()
async def broker_frozen(trial: Trial) -> None:
    """RabbitMQ is unresponsive for 35 s while 1 000 requests wait at once: each request is answered within 8 s, and
    delivery continues afterwards.
    """
    rabbitmq = trial.stage.rabbitmq
    async with trial.system(push=2, email=1, sms=1, **SHORT_LEASES) as system:
        await some_are_retried(system)
        async with flowing(trial, system, 1500, per_s=35):
            await system.delivered(100)
            rabbitmq.pause()
            try:
                frozen = asyncio.create_task(asyncio.sleep(FROZEN_S))
                at_once = await system.load.post(system.writer.write(1000), at_once=1000)
                await gateways_say(system, "blocked", "down", within_s=1)
                noticed_s = await workers_say(system, "unhealthy", within_s=FROZEN_S)
                await frozen
            finally:
                rabbitmq.resume()
            system.healed()
            well_s = await all_well(system)
        slowest_s = max(answer.seconds for answer in at_once)
        trial.note(f"of 1000 requests at once the slowest was answered after {slowest_s:.1f} s")
        trial.note(f"workers said so after {noticed_s:.1f} s more, all were well {well_s:.1f} s after the thaw")


@scenario()
async def broker_out_of_memory(trial: Trial) -> None:
    """RabbitMQ's memory alarm blocks all publishers for 15 s, while a worker starts with a message that it cannot
    forward, and all connections are closed: deliveries continue, and requests that it did not store are answered 503.
    """
    rabbitmq = trial.stage.rabbitmq
    # Each publish of the forward that the alarm keeps from being confirmed is stored in the end.
    trial.bounds.failed["invalid_json"] = (1, 10)
    async with trial.system(push=1, email=1, sms=1, **SHORT_LEASES) as system:
        operator = BrokerOperator(rabbitmq, system.vhost)
        await some_are_retried(system)
        push = system.workers[0]
        # A broker tells only publishers that it is blocked, so the gateway must have something to publish throughout.
        async with unending(trial, system, per_s=70):
            await system.delivered(200)
            await push.stop()
            await system.load.publish_raw("push.low", b"{")
            waiting = system.writer.write(BACKLOG, channel="push", priority="high")
            await system.load.publish(waiting)
            await operator.raise_memory_alarm()
            try:
                lasting = asyncio.create_task(asyncio.sleep(ALARM_S))
                push.start()
                noticed_s = await gateways_say(system, "blocked", within_s=ALARM_S)
                # The calls that are refused once must be forwarded, so they wait for the end of the alarm.
                passed = BACKLOG // 2
                await eventually_async(lambda: delivered_of(push.log, waiting) >= passed, ALARM_S, 0.2)
                await operator.close_connections()
                await workers_say(system, "degraded", within_s=ALARM_S, workers=[push])
                await lasting
            finally:
                await operator.lift_memory_alarm()
            system.healed()
            well_s = await all_well(system)
            await eventually_async(lambda: delivered_of(push.log, waiting) == BACKLOG, 60, 0.2)
        trial.note(f"the gateway said so after {noticed_s:.1f} s, all were well {well_s:.1f} s after the alarm")
