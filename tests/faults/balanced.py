"""A cluster as its clients see it: one address, with a balancer behind it that knows nothing of who is well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from ops.servers.management import Management, QueueCounts
from tests.faults.cluster import Cluster
from tests.faults.proxy import proxy
from tests.faults.variables import through


class Balanced:
    """A ``Broker`` for ``Trial.system``; its clients must connect through ``port``."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self.cluster = cluster
        self._port = port

    @property
    def management(self) -> Management:
        """That of a node that lives. Raises ServerFailed if none does."""
        return self.cluster.any_living().management

    def vhost_url(self, vhost: str) -> str:
        return through(self.cluster.nodes[0].vhost_url(vhost), self._port)

    def list_queues(self, vhost: str = "/") -> Mapping[str, QueueCounts]:
        return self.cluster.list_queues(vhost)


@asynccontextmanager
async def balanced(cluster: Cluster) -> AsyncIterator[Balanced]:
    """The balancer listens until the block ends."""
    async with proxy(cluster.ports) as balancer:
        yield Balanced(cluster, balancer.port)
