"""Tests a real failover: the Sentinel makes the replica the master, and every client reaches it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import RedisError

from ops.servers import RedisServer
from ops.servers.programs import require
from shared.errors import RedisUnavailable
from shared.redis.batch import Batcher
from shared.redis.client import async_client
from tests.support.run.servers import run_ports
from tests.support.waiting import eventually, eventually_async


@contextmanager
def sentinel(directory: Path, master_port: int) -> Iterator[int]:
    """Runs one Sentinel that decides alone, and soon. Yields its port once it knows the replica.

    A master that a busy machine keeps from answering for a second is not taken for dead.
    """
    (port,) = run_ports(1)
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {directory}\nsentinel monitor main 127.0.0.1 {master_port} 1\n"
        "sentinel down-after-milliseconds main 2000\nsentinel failover-timeout main 3000\n"
    )
    program = str(require("redis-server"))
    process = subprocess.Popen([program, str(configuration), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            eventually(lambda: _replicas(client) == 1, deadline_s=30)
        yield port
    finally:
        process.kill()
        process.wait()


def _replicas(client: redis.Redis) -> int:
    try:
        state: Any = client.sentinel_master("main")
        return int(state["num-slaves"])
    except RedisError:
        return 0


async def test_after_a_failover_every_client_writes_to_the_new_master(tmp_path: Path) -> None:
    ports = run_ports(2)
    first, second = (RedisServer(tmp_path / str(port), port=port) for port in ports)
    with ExitStack() as stack:
        for server in (first, second):
            server.start()
            stack.callback(server.stop)
        with redis.Redis(port=second.port) as replica:
            replica.replicaof("127.0.0.1", first.port)
        port = stack.enter_context(sentinel(tmp_path, first.port))
        url = f"redis+sentinel://127.0.0.1:{port}/main/0"
        batcher, client = Batcher(url), async_client(url)
        script = batcher.script("return {redis.call('INCR', KEYS[1])}")
        assert await script.call(b"count") == 1
        assert await client.get("count") == b"1"

        first.kill()

        async def counts_again() -> bool:
            try:
                return bool(await script.call(b"count") >= 1 and await client.get("count"))
            except (RedisUnavailable, RedisError):
                return False

        await eventually_async(counts_again, deadline_s=30)
        with redis.Redis(port=second.port) as now_master:
            assert now_master.role()[0] == b"master"
            assert now_master.get("count") == await client.get("count")
        await batcher.close()
        await client.aclose()
