"""Tests connections that an operator closes again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from tests.faults.faults.operator import BrokerOperator
from tests.faults.harness.member import Member
from tests.faults.harness.scale import SHORT_LEASES
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.truth import all_well
from tests.faults.load.senders import Load
from tests.faults.load.traffic import flowing, some_are_retried
from tests.support.waiting import eventually_async

#: everything that is created only once is created within this number of reconnections
_WARM_UP = 2
#: after this number of deliveries a process has allocated what it needs
_WARM = 700
_COUNTED = 10
#: requests that wait at once in the warm-up: they need more threads than the later traffic ever does
_CROWD = 50


@scenario()
async def ten_reconnections(trial: Trial) -> None:
    """All AMQP connections are closed ten times under traffic: nothing is lost, and no process leaks memory, threads or
    file descriptors.
    """
    async with trial.system(push=1, email=1, sms=1, **SHORT_LEASES) as system:
        operator = BrokerOperator(trial.stage.rabbitmq, system.vhost)
        await some_are_retried(system)
        members = (*system.gateways, *system.workers)
        async with flowing(trial, system, 1500, per_s=80):
            await system.delivered(_WARM)
            for _ in range(_WARM_UP):
                await asyncio.gather(_crowd(system), _reconnect(operator, system, members))
            # The number of connections to senders and providers varies with the traffic; the number of all others must
            # stay the same.
            aside = {system.providers.port, system.providers.smtp_port, *(member.port for member in members)}
            before = {member.name: member.resources(aside) for member in members}
            for _ in range(_COUNTED):
                await _reconnect(operator, system, members)
            system.healed()
            system.ledgers.resources += [member.grown_since(before[member.name], aside) for member in members]
        for kept in system.ledgers.resources:
            trial.note(f"{kept.process}: {_shown(kept.before)} before, {_shown(kept.after)} after ten more")


async def _crowd(system: System) -> None:
    """Sends a crowd of requests on connections of their own and closes these again: otherwise they would hide other
    connections that stay open.
    """
    urls = [f"http://127.0.0.1:{gateway.port}" for gateway in system.gateways]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        crowd = Load(system.ledgers, urls, system.publisher, http)
        await crowd.post(system.writer.write(_CROWD), at_once=_CROWD)


async def _reconnect(operator: BrokerOperator, system: System, members: tuple[Member, ...]) -> None:
    lost = {member.name: _lost(member) for member in members}
    await operator.close_connections()
    await eventually_async(lambda: all(_lost(member) > lost[member.name] for member in members))
    await all_well(system)


def _lost(member: Member) -> int:
    return member.log.read_bytes().count(b'"event":"broker_lost"')


def _shown(held: Mapping[str, float]) -> str:
    return f"{held['fds']:.0f} descriptors, {held['threads']:.0f} threads, {held['memory_mb']:.0f} MB"
