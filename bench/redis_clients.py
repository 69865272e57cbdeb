"""Measures what micro-batching saves: one script call per message through ``Batcher`` and through redis-py, in turns.

    python -m bench.redis_clients [--port 24010] [--calls 20000] [--rounds 3]

Each turn calls one Lua script for fresh keys, 256 calls at a time, on uvloop, on a Redis of its own that appends to its
file as in production. The program prints the wall time and the CPU time of this process per call, for the best turn of
each. ``shared/redis/batch.py`` exists because of this result.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import redis.asyncio
import uvloop
from redis.asyncio import BlockingConnectionPool

from ops.servers.redis_server import RedisServer
from shared.redis.batch import Batcher

_CONCURRENT = 256
#: redis-py has one command at a time on each connection; callers wait for a free connection.
_CONNECTIONS = 64
_SCRIPT = """
local answers = {}
for at, key in ipairs(KEYS) do
    answers[at] = redis.call('SET', key, ARGV[at], 'PX', 60000, 'NX') and 1 or 0
end
return answers
"""

Call = Callable[[bytes], Awaitable[Any]]


async def _turn(call: Call, keys: list[bytes]) -> tuple[float, float]:
    """Returns the microseconds per call: wall time, CPU time."""
    left = iter(keys)

    async def caller() -> None:
        for key in left:
            await call(key)

    cpu, wall = _cpu_s(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(_CONCURRENT)))
    wall, cpu = time.perf_counter() - wall, _cpu_s() - cpu
    return wall * 1e6 / len(keys), cpu * 1e6 / len(keys)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _measure(url: str, calls: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    batcher = Batcher(url, timeout_s=10.0)
    pool = BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=10.0)
    client = redis.asyncio.Redis.from_pool(pool)
    script = batcher.script(_SCRIPT)
    sha = await client.script_load(_SCRIPT)
    ways: dict[str, Call] = {
        "batcher": lambda key: script.call(key, b"P:token"),
        "redis-py": lambda key: client.evalsha(sha, 1, key, b"P:token"),
    }
    names = (b"notify:push:%d" % number for number in itertools.count())
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for call in ways.values():
        await _turn(call, list(itertools.islice(names, _CONCURRENT * 4)))  # connections are open before the clock runs
    for _ in range(rounds):
        for name, call in ways.items():
            turns[name].append(await _turn(call, list(itertools.islice(names, calls))))
    await batcher.close()
    await client.aclose()
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=24010)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="notify-bench-") as home:
        server = RedisServer(Path(home), port=options.port)
        server.start()
        try:
            turns = uvloop.run(_measure(server.url, options.calls, options.rounds))
        finally:
            server.stop()
    for name, figures in turns.items():
        wall, cpu = min(wall for wall, _ in figures), min(cpu for _, cpu in figures)
        print(f"{name:10} {wall:7.1f} us wall per call   {cpu:7.1f} us CPU per call   {1e6 / wall:7.0f} calls/s")


if __name__ == "__main__":
    main()
