"""Tests that the death of a node costs its devices one reconnection, and that nothing is lost without any node."""

from __future__ import annotations

import asyncio

from tests.faults.devices.crowd import Crowd
from tests.faults.harness.inboxes import CONSUMER, NO_POSITION_CHECK, ROLE, SOCKETS
from tests.faults.harness.scale import PATIENT_S
from tests.faults.harness.scenario import scenario
from tests.faults.harness.system import System
from tests.faults.harness.trial import Trial
from tests.faults.harness.worker_process import AFTER_COMMIT
from tests.faults.ledger.bounds import Bounds
from tests.faults.load.hands import arriving, for_users, some_users, used
from tests.support.waiting import eventually_async

#: as many as a user may have by default
PER_USER = 5
KILLS = 3
#: all devices of a dead node follow their inboxes again within this time, on a busy machine too, seconds
BACK_S = 15.0
#: a writer dies after this number of commits
COMMITS = 8


async def _survive_kills(trial: Trial, store: str) -> None:
    async with trial.system(websocket=2, store=store, provider_timeout_s=PATIENT_S) as system:
        crowd = await system.inboxes.connect(some_users(trial.draw, 100), PER_USER)
        async with (
            crowd.compared_all_the_time(),
            arriving(system, crowd, 600, per_s=40),
            used(system, crowd, per_s=4),
        ):
            for number in range(KILLS):
                await system.inboxes.stored(100 * (number + 1))
                node, port = list(system.inboxes.nodes.items())[number % 2]
                hit = _cut(trial, crowd, port)
                ends = _ends(crowd)
                node.kill()
                await eventually_async(lambda: _ends(crowd) >= ends + hit, BACK_S)  # noqa: B023
                trial.note(f"{hit} devices lost their node, and were back after {await crowd.all_live(BACK_S):.1f} s")
        system.healed()


def _cut(trial: Trial, crowd: Crowd, port: int) -> int:
    """Allows each connection to this node to be cut once more. Returns how many there are."""
    hit = len(crowd.on(port))
    trial.bounds.ends[1006] = trial.bounds.ends.get(1006, 0) + hit
    return hit


def _ends(crowd: Crowd) -> int:
    return sum(len(device.record.ends) for device in crowd.devices)


@scenario()
async def node_killed(trial: Trial) -> None:
    """A node is killed with SIGKILL three times while 500 devices are connected to two nodes, notifications arrive and
    users read, archive and delete them: its devices come back at once, those of the other node notice nothing, and
    each device shows its inbox without a hole or a double.
    """
    await _survive_kills(trial, "sqlite")


@scenario()
async def node_killed_on_postgresql(trial: Trial) -> None:
    """The same with the inboxes in PostgreSQL."""
    await _survive_kills(trial, "postgresql")


@scenario()
async def all_nodes_down(trial: Trial) -> None:
    """All nodes are killed and stay down while notifications are accepted: each is answered 202, inboxes can still be
    read over HTTP, and every device shows everything as soon as the nodes are back.
    """
    async with trial.system(websocket=2, provider_timeout_s=PATIENT_S) as system:
        crowd = await system.inboxes.connect(some_users(trial.draw, 40), PER_USER)
        async with arriving(system, crowd, 200, per_s=50):
            await system.inboxes.stored(50)
        nodes = list(system.inboxes.nodes)
        for port in system.inboxes.ports:
            _cut(trial, crowd, port)
        await asyncio.gather(*(node.end() for node in nodes))
        async with used(system, crowd, per_s=10):
            answers = await system.load.post(for_users(system, crowd.users, 300))
            # Nobody is told of these changes.
            await _changed_over_http(system, 10)
        assert {answer.status for answer in answers} == {202}, f"answered {sorted({a.status for a in answers})}"
        assert not crowd.live, f"{len(crowd.live)} devices are connected to nobody"
        system.healed()
        for node in nodes:
            node.start()
        trial.note(f"all devices were back after {await crowd.all_live():.1f} s")


async def _changed_over_http(system: System, at_least: int) -> None:
    def changed() -> int:
        return sum(answer.status == 200 for answer in system.ledgers.answers if answer.what.endswith("an inbox"))

    await eventually_async(lambda: changed() >= at_least, 30)


#: a writer's restart, its lease, redelivery and handling, on a busy machine too, seconds
REPEATED_S = 15.0


@scenario(Bounds(stale_s=REPEATED_S), quick=True)
async def writer_killed_before_it_tells(trial: Trial) -> None:
    """Writers die after a notification is committed and before any node is told of it: the message is redelivered, its
    row is found, and the devices are told then. No comparison of positions helps.
    """
    roles = {
        "websocket-0": {ROLE: CONSUMER},
        "websocket-1": {ROLE: SOCKETS},
    }
    async with trial.system(
        websocket=2,
        variables=NO_POSITION_CHECK | {"PREFETCH": "1"},
        variables_of=roles,
        points=(AFTER_COMMIT, AFTER_COMMIT),
        dying=("websocket-0",),
        nth=COMMITS,
        provider_timeout_s=PATIENT_S,
    ) as system:
        # Each notification is the only one of its user: no later change makes up for a wake-up that was not sent.
        users = some_users(trial.draw, 60)
        for worker in system.workers:
            await system.ready(worker, "/health")
        crowd = await system.inboxes.connect(users, 1)
        parcels = [system.writer.one(channel="websocket", user_id=user) for user in crowd.users]
        await system.load.publish(parcels)
        await system.inboxes.stored(len(parcels))
        writer = system.workers[0]
        assert writer.deaths == len(system.plan.points), f"{writer.deaths} writers died"
        system.healed()
        took_s = await crowd.all_equal(REPEATED_S)
        trial.note(f"{writer.deaths} writers died; {took_s:.1f} s after the last commit everything was shown")
