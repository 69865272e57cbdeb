"""Tests a cluster of three nodes behind a balancer without health checks: one node dies, one is unresponsive, all are
restarted in turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from tests.faults.harness.cluster import Balanced, balanced
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.ledger.ledgers import Ledgers
from tests.faults.load.traffic import some_are_retried, unending
from tests.support.waiting import eventually_async

PER_S = 40.0
#: longer than any deadline or heartbeat of the product, and longer than the cluster needs to count a node as down,
#: seconds
FROZEN_S = 25.0
#: all clients have moved to the other nodes within this time after the fault, seconds
MOVED_S = 20.0
LANE = "push.queue"
#: Leases are so long that no message has to wait for one to run out; a lease that is not released because of a frozen
#: node ends soon enough all the same.
PATIENT: dict[str, Any] = {
    "provider_timeout_s": 5.0,
    "variables": {"LEASE_S": "14", "HANDLING_BUDGET_S": "6", "BREAKER_SLOW_S": "4"},
}


class Clustered:
    """Holds a system on the stage's cluster, behind a balancer."""

    def __init__(self, broker: Balanced, system: System) -> None:
        self.cluster, self.system = broker.cluster, system
        #: when the fault began, Unix seconds
        self.struck_at = 0.0

    def strikes(self) -> None:
        """Records that the fault begins now."""
        self.struck_at = time.time()

    async def leader(self) -> int:
        """Returns the node that leads the lane. It does not work while a node is frozen."""

        async def found() -> list[int]:
            led = await asyncio.to_thread(self.cluster.leader_of, self.system.vhost, LANE)
            return [] if led is None else [led]

        return (await eventually_async(found))[0]

    async def goes_on(self) -> None:
        """Returns when thirty more messages have been accepted and delivered."""
        accepted = len(self.system.ledgers.accepted) + 30
        delivered = await self.system.providers.accepted_calls() + 30
        await eventually_async(lambda: len(self.system.ledgers.accepted) >= accepted, deadline_s=30)
        await self.system.delivered(delivered)


@asynccontextmanager
async def under_load(trial: Trial, moved_s: float | None = None) -> AsyncIterator[Clustered]:
    """Keeps the load flowing until the block ends. Asserts that no request is refused later than ``moved_s`` after the
    fault.
    """
    async with balanced(await trial.stage.cluster()) as broker:
        # The balancer may distribute the other clients as it likes, but each node serves a gateway.
        gateways = {f"gateway-{number}": port for number, port in enumerate(broker.beginning_at)}
        plan = {"push": 2, "email": 1, "gateways": len(gateways), "amqp_ports": gateways, **PATIENT}
        async with trial.system(broker, **plan) as system:
            clustered = Clustered(broker, system)
            await some_are_retried(system)
            async with unending(trial, system, PER_S):
                await system.delivered(200)
                yield clustered
        refused_s = noted(trial, system.ledgers, clustered.struck_at)
        assert moved_s is None or refused_s < moved_s, f"refused {refused_s:.1f} s after the blow"


def noted(trial: Trial, led: Ledgers, struck_at: float) -> float:
    """Notes how callers and recipients were affected by the fault. Returns how long after it the last caller was
    refused, in seconds.
    """
    posts = [answer for answer in led.answers if answer.what.startswith("POST")]
    refused = [answer.at + answer.seconds for answer in posts if answer.status != 202 and answer.at > struck_at]
    accepted = [answer.at + answer.seconds for answer in posts if answer.status == 202]
    calls = [call.at for call in led.calls]
    until = max(answer.at for answer in posts)
    first_s, refused_s = first_after(calls, struck_at) or 0.0, last_after(refused, struck_at) or 0.0
    trial.note(
        f"first delivery {first_s:.1f} s after the blow, longest span without one "
        f"{longest_gap(calls, struck_at, until):.1f} s, without a 202 {longest_gap(accepted, struck_at, until):.1f} s; "
        f"{len(refused)} callers were refused, the last {refused_s:.1f} s after the blow"
    )
    return refused_s


@scenario()
async def leading_node_killed(trial: Trial) -> None:
    """The node that leads the queues is killed with SIGKILL under load and started again: nothing is lost and nothing
    is delivered twice.
    """
    async with under_load(trial, MOVED_S) as clustered:
        led = await clustered.leader()
        node = clustered.cluster.nodes[led]
        clustered.strikes()
        await asyncio.to_thread(node.kill)
        await clustered.goes_on()
        assert await clustered.leader() != led, "the dead node still leads"
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(clustered.cluster.wait_whole)
        clustered.system.healed()
        await clustered.goes_on()


@scenario()
async def leading_node_frozen(trial: Trial) -> None:
    """The node that leads the queues and serves clients of all kinds is unresponsive for 25 s: all clients continue
    without it.
    """
    async with under_load(trial, MOVED_S) as clustered:
        led = await clustered.leader()
        node = clustered.cluster.nodes[led]
        clustered.strikes()
        node.pause()
        try:
            await asyncio.sleep(FROZEN_S)
        finally:
            node.resume()
        if not await asyncio.to_thread(clustered.cluster.rejoin, node):
            trial.note("the node did not find back by itself, and was restarted")
        clustered.system.healed()
        await clustered.goes_on()


@scenario()
async def nodes_restarted_in_turn(trial: Trial) -> None:
    """The nodes are restarted in good order, one after the other, under load: nothing is lost and nothing is delivered
    twice.
    """
    async with under_load(trial) as clustered:
        clustered.strikes()
        await asyncio.to_thread(clustered.cluster.rolling_restart)
        clustered.system.healed()
        await clustered.goes_on()


def longest_gap(times: Iterable[float], since: float, until: float) -> float:
    """Returns the longest stretch between ``since`` and ``until`` that contains none of ``times``."""
    within = sorted(at for at in times if since < at < until)
    return max(later - earlier for earlier, later in pairwise((since, *within, until)))


def first_after(times: Iterable[float], since: float) -> float | None:
    """Returns how long after ``since`` the first of ``times`` is, or None if there is none."""
    return min((at - since for at in times if at > since), default=None)


def last_after(times: Iterable[float], since: float) -> float | None:
    """Returns how long after ``since`` the last of ``times`` is, or None if there is none."""
    return max((at - since for at in times if at > since), default=None)
