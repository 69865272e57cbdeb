"""Three nodes behind a balancer that checks nobody's health: one dies, one stands still, all are restarted in turn."""

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
#: longer than any deadline and heartbeat of ours, and than the cluster needs to count a node as gone, seconds
FROZEN_S = 25.0
#: everybody has moved over to the others so long after a blow, seconds
MOVED_S = 20.0
LANE = "push.queue"
#: nobody has to wait for a lease to run out; one that a frozen node keeps from being given up does not wait for long
PATIENT: dict[str, Any] = {
    "provider_timeout_s": 5.0,
    "variables": {"LEASE_S": "14", "HANDLING_BUDGET_S": "6", "BREAKER_SLOW_S": "4"},
}


class Clustered:
    """A system on the stage's cluster, behind a balancer."""

    def __init__(self, broker: Balanced, system: System) -> None:
        self.cluster, self.system = broker.cluster, system
        #: when the fault began, Unix seconds
        self.struck_at = 0.0

    def strikes(self) -> None:
        """The fault begins now."""
        self.struck_at = time.time()

    async def leader(self) -> int:
        """The node that leads the lane. Not while one is frozen."""

        async def found() -> list[int]:
            led = await asyncio.to_thread(self.cluster.leader_of, self.system.vhost, LANE)
            return [] if led is None else [led]

        return (await eventually_async(found))[0]

    async def goes_on(self) -> None:
        """Return when thirty more have been accepted and delivered."""
        accepted = len(self.system.ledgers.accepted) + 30
        delivered = await self.system.providers.accepted_calls() + 30
        await eventually_async(lambda: len(self.system.ledgers.accepted) >= accepted, deadline_s=30)
        await self.system.delivered(delivered)


@asynccontextmanager
async def under_load(trial: Trial, moved_s: float | None = None) -> AsyncIterator[Clustered]:
    """The load flows until the block ends; ``moved_s`` after the blow at the latest nobody is refused any more."""
    async with balanced(await trial.stage.cluster()) as broker:
        # Each node serves a gateway, however the balancer deals out the others.
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
    """Note what callers and recipients felt of the blow; how long after it the last caller was refused, seconds."""
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
    """The node that leads the queues gets SIGKILL under load and is brought back: nothing is lost, nothing doubled."""
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
    """The node that leads the queues and serves clients of all kinds stands still for 25 s: all go on without it."""
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
    """The nodes are restarted in good order, one after the other, under load: nothing is lost, nothing doubled."""
    async with under_load(trial) as clustered:
        clustered.strikes()
        await asyncio.to_thread(clustered.cluster.rolling_restart)
        clustered.system.healed()
        await clustered.goes_on()


def longest_gap(times: Iterable[float], since: float, until: float) -> float:
    """The longest stretch of ``since`` to ``until`` with none of ``times`` in it."""
    within = sorted(at for at in times if since < at < until)
    return max(later - earlier for earlier, later in pairwise((since, *within, until)))


def first_after(times: Iterable[float], since: float) -> float | None:
    """How long after ``since`` the first of ``times`` is; None if none is."""
    return min((at - since for at in times if at > since), default=None)


def last_after(times: Iterable[float], since: float) -> float | None:
    """How long after ``since`` the last of ``times`` is; None if none is."""
    return max((at - since for at in times if at > since), default=None)
