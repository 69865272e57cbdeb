"""Runs three RabbitMQ nodes on loopback as one cluster, to be killed, frozen and restarted under load.

What an application sees, measured on RabbitMQ 3.10.8 with ``NET_TICKTIME_S`` and the product's queues declared:

- The node that leads a queue is SIGKILLed: another leads after 0.3 s. Clients of the dead node are reset at once;
  clients of the others continue, and a confirm or a delivery is late by that time. During that time a queue has no
  leader, and a channel that is opened then may refuse publishes (nack).
- It is frozen: no socket closes. Clients of the others wait 7 s for a new leader; a client that declares or binds waits
  10 s, until the node counts as down. Clients of the frozen node receive nothing: pika needs 25 s to be sure with a
  heartbeat of 10 s, the product's clients give up after 7.5 s. New connections to it are accepted by its kernel and
  never answered.
- It wakes: it finds itself a minority of one, drops its clients, restarts its broker by itself, and is back in 6 s. It
  may also fail to do so, because the others have contacted it first: then it stays apart until an operator restarts it.
- Two nodes are down: the third stops serving (``pause_minority``) until another is back.
- The rolling restart of all three takes 35 s; each node's clients are closed with 320 and must connect elsewhere.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import requests

from ops.errors import ServerFailed
from ops.servers import Epmd, Membership, RabbitMQPorts, RabbitMQServer, node_name
from ops.servers.management import Management, QueueCounts
from tests.faults.harness.variables import through
from tests.faults.proxy import proxy
from tests.support.run.servers import run_ports

NODES = 3
#: A silent node counts as down after 7.5 to 12.5 s; RabbitMQ's own default, 60 s, would make every run minutes longer.
NET_TICKTIME_S = 10
START_S = 90.0
WHOLE_S = 90.0
#: a node that was frozen rejoins by itself within this time or never, seconds
REJOIN_S = 10.0


class Cluster:
    """Starts and stops the nodes; each of ``nodes`` is a server with ``kill()``, ``start()``, ``pause()``, ``resume()``
    and ``stop()``.

    All its methods block: call them from an event loop through ``asyncio.to_thread``. The nodes need 1 GB of memory;
    ``start`` takes 15 s.
    """

    def __init__(self, directory: Path, *, net_ticktime_s: int = NET_TICKTIME_S) -> None:
        epmd, *ports = run_ports(1 + 3 * NODES)
        each = [RabbitMQPorts(*three, epmd) for three in zip(ports[::3], ports[1::3], ports[2::3], strict=True)]
        membership = Membership(tuple(map(node_name, each)), secrets.token_hex(20), net_ticktime_s)
        self._epmd = Epmd(directory, epmd)
        self.nodes = [
            RabbitMQServer(
                directory / f"node-{n}",
                mine,
                dead_letter_confirm_timeout_s=5.0,
                quorum_tick_s=0.5,
                membership=membership,
            )
            for n, mine in enumerate(each)
        ]

    @property
    def ports(self) -> list[int]:
        """Returns each node's AMQP port: the upstreams of a balancer."""
        return [node.ports.amqp for node in self.nodes]

    def start(self) -> None:
        """Starts all nodes in parallel and returns once they are one cluster. Raises ServerFailed."""
        self._epmd.start()
        for node in self.nodes:
            node.begin()
        for node in self.nodes:
            node.wait_ready(START_S)
        self.wait_whole()

    def kill(self) -> None:
        """Ends every process of the cluster, so that nothing is left running."""
        for node in self.nodes:
            node.kill()
        self._epmd.kill()

    def any_living(self) -> RabbitMQServer:
        """Returns a node that serves clients now. Raises ServerFailed if none does."""
        for node in self.nodes:
            if node.running() and node.answers():
                return node
        raise ServerFailed("no node of the cluster answers")

    def list_queues(self, vhost: str = "/") -> dict[str, QueueCounts]:
        """Returns the message counts of every queue. Do not call it while a node is frozen: it would take 2 s per
        queue, and fails after 10 s.
        """
        return self.any_living().list_queues(vhost)

    def leader_of(self, vhost: str, queue: str) -> int | None:
        """Returns the node that leads ``queue``, or None while there is none or until a frozen one counts as down."""
        name = self.any_living().management.quorum_queue(vhost, queue).leader
        return None if name is None else [node.node_name for node in self.nodes].index(name)

    def mend(self) -> None:
        """Restarts everything that a failed scenario has left broken. Raises ServerFailed."""
        for node in self.nodes:
            node.resume()
            if not node.running():
                node.start()
        try:
            self.wait_whole(REJOIN_S)
        except ServerFailed:
            self.kill()
            self.start()

    def rejoin(self, node: RabbitMQServer) -> bool:
        """Waits until a node that was frozen is back. Returns False if it had to be restarted, as an operator would."""
        try:
            self.wait_whole(REJOIN_S)
        except ServerFailed:
            node.kill()
            node.start()
            self.wait_whole()
            return False
        return True

    def wait_whole(self, timeout_s: float = WHOLE_S) -> None:
        """Returns once all nodes run and every quorum queue has all its members. Raises ServerFailed."""
        deadline = time.monotonic() + timeout_s
        while lacking := self._lacking():
            if time.monotonic() > deadline:
                raise ServerFailed(f"the cluster is not whole after {timeout_s:.0f} s: {lacking}")
            time.sleep(0.2)

    def rolling_restart(self) -> None:
        """Stops and starts each node in turn, as an operator would: the next only when the cluster is whole again."""
        for node in self.nodes:
            node.stop()
            node.start()
            self.wait_whole()

    def _lacking(self) -> str:
        """Describes what is missing. Returns an empty string if nothing is."""
        names = {node.node_name for node in self.nodes}
        for node in self.nodes:
            if not (node.running() and node.answers()):
                return f"{node.node_name} does not answer"
            try:
                seen = set(node.management.running_nodes())
            except requests.RequestException as exc:
                return f"{node.node_name}: {exc}"
            if seen != names:
                return f"{node.node_name} sees only {sorted(seen)}"
        return self._queues_lacking_members()

    def _queues_lacking_members(self) -> str:
        management = self.nodes[0].management
        for vhost in management.vhosts():
            for queue in management.quorum_queues(vhost):
                if queue.leader is None or len(queue.online) < NODES:
                    return f"{queue.name} in {vhost} is led by {queue.leader}, with {queue.online} online"
        return ""


class Balanced:
    """Gives ``Trial.system`` the cluster as its ``Broker``, reached through ``port``.

    Each port in ``beginning_at`` leads to all nodes in turn too, but its first client goes to the node of that index.
    """

    def __init__(self, cluster: Cluster, port: int, beginning_at: Sequence[int]) -> None:
        self.cluster, self.port = cluster, port
        self.beginning_at = tuple(beginning_at)

    @property
    def management(self) -> Management:
        """Returns the management API of a node that runs. Raises ServerFailed if none does."""
        return self.cluster.any_living().management

    def vhost_url(self, vhost: str) -> str:
        return through(self.cluster.nodes[0].vhost_url(vhost), self.port)

    def list_queues(self, vhost: str = "/") -> Mapping[str, QueueCounts]:
        return self.cluster.list_queues(vhost)


@asynccontextmanager
async def balanced(cluster: Cluster) -> AsyncIterator[Balanced]:
    """Runs the balancer until the block ends."""
    async with AsyncExitStack() as stack:
        upstreams = [(*cluster.ports[n:], *cluster.ports[:n]) for n in (0, *range(NODES))]
        ports = [(await stack.enter_async_context(proxy(each))).port for each in upstreams]
        yield Balanced(cluster, ports[0], ports[1:])
