"""RabbitMQ goes away, comes back, stands still, or takes nothing more."""

from __future__ import annotations

import asyncio

from tests.faults.bounds import Bounds
from tests.faults.operator import on_disk
from tests.faults.scenario import scenario
from tests.faults.traffic import flowing, some_are_retried
from tests.faults.trial import Trial
from tests.faults.truth import all_say_down, all_well, gateways_say


@scenario(quick=True)
async def broker_killed(trial: Trial) -> None:
    """RabbitMQ gets SIGKILL while everybody publishes and consumes, and is started again: nothing is lost or doubled."""
    rabbitmq = trial.stage.rabbitmq
    async with trial.system(push=1, email=1, sms=1) as system:
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
    """RabbitMQ is stopped in good order under traffic and started again: nothing is lost or doubled."""
    rabbitmq = trial.stage.rabbitmq
    async with trial.system(push=1, email=1, sms=1) as system:
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
