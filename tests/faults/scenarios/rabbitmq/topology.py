"""Tests exchanges, bindings and queues that are deleted."""

from __future__ import annotations

from shared.broker.topology import EXCHANGE
from shared.message.channels import Lane
from tests.faults.faults.operator import BrokerOperator
from tests.faults.harness.scale import UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.trial import Trial
from tests.faults.ledger.truth import all_well
from tests.faults.load.traffic import flowing, some_are_retried

_IDLE = Lane("push", "low")


@scenario(quick=True)
async def topology_deleted(trial: Trial) -> None:
    """A binding, the exchange and an empty lane queue are deleted while messages are published: all three are declared
    again, and nothing is lost.
    """
    async with trial.system(push=1, email=1, **UNHURRIED) as system:
        operator = BrokerOperator(trial.stage.rabbitmq, system.vhost)
        await some_are_retried(system)
        async with flowing(trial, system, 900, per_s=75, priority="medium"):
            await system.delivered(100)
            await operator.unbind(Lane("push", "medium"))
            await operator.bound(Lane("push", "medium"))
            await operator.delete_exchange(EXCHANGE)
            await operator.bound(Lane("email", "medium"))
            await operator.delete_queue(_IDLE.queue)
            await system.load.post(system.writer.write(50, channel=_IDLE.channel, priority=_IDLE.priority))
            await system.load.publish(system.writer.write(50, channel=_IDLE.channel, priority=_IDLE.priority))
            await operator.bound(_IDLE)
            system.healed()
            await all_well(system)
