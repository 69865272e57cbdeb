"""Runs the servers of one run: a broker and a Redis of its own, which scenarios break and restore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ops.servers import PostgreSQLServer, RabbitMQPorts, RabbitMQServer, RedisServer
from tests.faults.harness.cluster import Cluster
from tests.faults.harness.scale import DEAD_LETTER_REPEAT_S
from tests.support.run.servers import run_ports
from tests.support.stores import Databases

#: greatest age of the broker's counts, seconds
QUORUM_TICK_S = 0.5


class Stage:
    """Holds the servers that are kept between scenarios. A scenario that breaks a server leaves it running again."""

    def __init__(self, directory: Path, rabbitmq: RabbitMQServer, redis: RedisServer) -> None:
        self.directory = directory
        self.rabbitmq = rabbitmq
        self.redis = redis
        self._cluster: Cluster | None = None
        self._postgresql: PostgreSQLServer | None = None
        self._databases = Databases(directory / "databases", self.postgresql)

    def postgresql(self) -> PostgreSQLServer:
        """Returns the PostgreSQL. The first call starts it, and it runs until the stage ends. It blocks."""
        if self._postgresql is None:
            self._postgresql = PostgreSQLServer(self.directory / "postgresql", port=run_ports(1)[0], durable=False)
            self._postgresql.start()
        return self._postgresql

    @asynccontextmanager
    async def database(self, backend: str) -> AsyncIterator[str]:
        """Yields the URL of a database with empty tables: ``sqlite`` or ``postgresql``."""
        await asyncio.to_thread((self.directory / "databases").mkdir, parents=True, exist_ok=True)
        empty = self._databases.empty(backend)
        url = await asyncio.to_thread(empty.__enter__)
        try:
            yield url
        finally:
            await asyncio.to_thread(self._mend_postgresql)
            await asyncio.to_thread(empty.__exit__, None, None, None)

    async def cluster(self) -> Cluster:
        """Returns a cluster of three nodes, whole. The first call starts it (15 to 25 s), and it runs until the stage
        ends.
        """
        if self._cluster is None:
            self._cluster = Cluster(self.directory / "cluster")
            await asyncio.to_thread(self._cluster.start)
        return self._cluster

    async def end(self) -> None:
        """Kills all servers with SIGKILL: nothing in them is needed any more."""
        ends = [self.rabbitmq.kill, self.redis.kill, *([self._cluster.kill] if self._cluster else [])]
        await asyncio.gather(*map(asyncio.to_thread, ends))
        if self._postgresql is not None:
            await asyncio.to_thread(self._postgresql.kill)
            await asyncio.to_thread(self._postgresql.remove)

    async def mend(self) -> None:
        """Restarts everything that a failed scenario has left broken."""
        for server in (self.rabbitmq, self.redis):
            server.resume()
            if not await asyncio.to_thread(server.answers):
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
        if self._cluster is not None:
            await asyncio.to_thread(self._cluster.mend)
        await asyncio.to_thread(self._mend_postgresql)

    def _mend_postgresql(self) -> None:
        server = self._postgresql
        if server is not None:
            server.resume()
            if not server.answers():
                server.kill()
                server.start()


def new_rabbitmq(directory: Path) -> RabbitMQServer:
    """Returns a broker, not started, with the harness' own interval for the repetition of dead letters."""
    return RabbitMQServer(
        directory,
        RabbitMQPorts(*run_ports(4)),
        dead_letter_confirm_timeout_s=DEAD_LETTER_REPEAT_S,
        quorum_tick_s=QUORUM_TICK_S,
    )


@asynccontextmanager
async def staged(directory: Path) -> AsyncIterator[Stage]:
    """Starts both servers, waits until they are ready, and kills them at the end."""
    rabbitmq = new_rabbitmq(directory / "rabbitmq")
    redis = RedisServer(directory / "redis", port=run_ports(1)[0])
    stage = Stage(directory, rabbitmq, redis)
    try:
        await asyncio.gather(asyncio.to_thread(rabbitmq.start), asyncio.to_thread(redis.start))
        yield stage
    finally:
        await stage.end()
