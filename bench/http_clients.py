"""Measures which HTTP client the hot path should use: the product's, aiohttp or pyreqwest, in turns, in one process.

    python -m bench.http_clients [--base-port 24000] [--requests 10000] [--rounds 3]

pyreqwest is left out where it is not installed: the product does not need it; ``.venv-bench`` has it.

Each turn sends POSTs of 600 bytes, 128 at a time, on uvloop, to a local nginx that answers a constant JSON document.
The program prints the wall time and the CPU time (of all threads, user and system) per call, for the best turn of
each client. ``shared/http/client.py`` exists because of this result.
"""

import argparse
import asyncio
import importlib.util
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
import uvloop

from bench.ports import Ports
from bench.provider import nginx
from shared.http.client import HttpClient

_BODY = b"x" * 600
_HEADERS = {"authorization": "Bearer bench", "content-type": "application/json"}
_CONCURRENT = 128
_TIMEOUT_S = 10.0

Post = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True)
class Turn:
    """Holds the figures of one turn, in microseconds per call."""

    wall_us: float
    cpu_us: float


async def _ours(stack: AsyncExitStack, url: str) -> Post:
    client = HttpClient()
    await client.open()
    stack.push_async_callback(client.close)

    async def post() -> bytes:
        return (await client.post(url, _BODY, _HEADERS, _TIMEOUT_S)).body

    return post


async def _aiohttp(stack: AsyncExitStack, url: str) -> Post:
    connector = aiohttp.TCPConnector(limit=_CONCURRENT)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout))

    async def post() -> bytes:
        async with session.post(url, data=_BODY, headers=_HEADERS, allow_redirects=False) as response:
            return await response.read()

    return post


async def _pyreqwest(stack: AsyncExitStack, url: str) -> Post:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().follow_redirects(False).no_proxy().timeout(timedelta(seconds=_TIMEOUT_S))
    client = await stack.enter_async_context(builder.build())

    async def post() -> bytes:
        response = await client.post(url).headers(_HEADERS).body_bytes(_BODY).build().send()
        return bytes(await response.bytes())

    return post


CLIENTS = {"ours": _ours, "aiohttp": _aiohttp}
if importlib.util.find_spec("pyreqwest"):
    CLIENTS["pyreqwest"] = _pyreqwest


async def _turn(post: Post, requests: int) -> Turn:
    left = iter(range(requests))

    async def caller() -> None:
        for _ in left:
            await post()

    cpu, wall = _cpu_s(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(_CONCURRENT)))
    wall, cpu = time.perf_counter() - wall, _cpu_s() - cpu
    return Turn(wall * 1e6 / requests, cpu * 1e6 / requests)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _measure(url: str, requests: int, rounds: int) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {name: [] for name in CLIENTS}
    async with AsyncExitStack() as stack:
        posts = {name: await make(stack, url) for name, make in CLIENTS.items()}
        for post in posts.values():
            await _turn(post, _CONCURRENT * 4)  # connections are open before the clock runs
        for _ in range(rounds):
            for name, post in posts.items():
                turns[name].append(await _turn(post, requests))
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-port", type=int, default=24000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, nginx.running(Path(home), Ports(options.base_port).provider) as server:
        turns = uvloop.run(_measure(f"{server.url}/v1/projects/p/messages:send", options.requests, options.rounds))
    for name, figures in turns.items():
        wall, cpu = min(t.wall_us for t in figures), min(t.cpu_us for t in figures)
        print(f"{name:10} {wall:7.1f} us wall per call   {cpu:7.1f} us CPU per call   {1e6 / wall:7.0f} calls/s")


if __name__ == "__main__":
    main()
