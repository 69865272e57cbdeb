"""A cluster as its clients see it: one address, with a balancer behind it that knows nothing of who is well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from ops.servers.management import Management, QueueCounts
from tests.faults.harness.cluster import NODES, Cluster
from tests.faults.harness.variables import through
from tests.faults.proxy import proxy


class Balanced:
    """A ``Broker`` for ``Trial.system``, reached through ``port``.

    Each of ``beginning_at`` leads to all nodes in turn too, its first client to the node of that index.
    """

    def __init__(self, cluster: Cluster, port: int, beginning_at: Sequence[int]) -> None:
        self.cluster, self.port = cluster, port
        self.beginning_at = tuple(beginning_at)

    @property
    def management(self) -> Management:
        """That of a node that lives. Raises ServerFailed if none does."""
        return self.cluster.any_living().management

    def vhost_url(self, vhost: str) -> str:
        return through(self.cluster.nodes[0].vhost_url(vhost), self.port)

    def list_queues(self, vhost: str = "/") -> Mapping[str, QueueCounts]:
        return self.cluster.list_queues(vhost)


@asynccontextmanager
async def balanced(cluster: Cluster) -> AsyncIterator[Balanced]:
    """The balancer listens until the block ends."""
    async with AsyncExitStack() as stack:
        upstreams = [(*cluster.ports[n:], *cluster.ports[:n]) for n in (0, *range(NODES))]
        ports = [(await stack.enter_async_context(proxy(each))).port for each in upstreams]
        yield Balanced(cluster, ports[0], ports[1:])
