"""Measures how long a high-priority notification takes to its provider, with and without a low-priority backlog."""

import sys
from contextlib import ExitStack
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import probes
from bench.arena import Arena
from bench.contestants import ours
from bench.errors import BenchFailed
from bench.percentiles import percentile_ms
from bench.probes import Probe
from bench.processes import Child, listens, wait_until
from shared.message.channels import Lane

PROVIDER_DELAY_MS = 20
PROBES = 400
_WARM_UP_PROBES = 50
_MEAN_GAP_S = 0.03
_LOW = Lane("push", "low")
_START_S = 60.0
_FILL_S = 120.0


def measure(arena: Arena, backlog: int, console: Console) -> dict[str, Any]:
    """Sends probes through an empty system, then the same with ``backlog`` low-priority messages waiting."""
    with ExitStack() as stack:
        provider = _slow_provider(arena)
        stack.callback(provider.stop)
        results: dict[str, Any] = {}
        console.log(f"isolation: {PROBES} probes through an empty system")
        results["empty"] = _round(arena, "empty", 0)
        console.log(f"isolation: {PROBES} probes with {backlog} low-priority messages waiting")
        results["loaded"] = _round(arena, "loaded", backlog)
    for percentile in ("p50", "p99"):
        ratio = results["loaded"][f"{percentile}_ms"] / results["empty"][f"{percentile}_ms"]
        results[f"{percentile}_ratio"] = round(ratio, 2)
    return results


def table(results: dict[str, Any]) -> Table:
    drawn = Table(
        title=f"isolation: POST of a high-priority notification to its arrival at a {PROVIDER_DELAY_MS} ms provider"
    )
    drawn.add_column("system")
    for column in ("p50 ms", "p99 ms", "from the 202, p50", "from the 202, p99", "backlog left"):
        drawn.add_column(column, justify="right")
    for name in ("empty", "loaded"):
        row = results[name]
        times = [f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms", "from_202_p50_ms", "from_202_p99_ms")]
        drawn.add_row(name, *times, f"{row['backlog_left']:,}")
    drawn.add_row("loaded / empty", f"{results['p50_ratio']:.1f} x", f"{results['p99_ratio']:.1f} x")
    return drawn


def _slow_provider(arena: Arena) -> Child:
    port = arena.ports.slow_provider
    argv = [sys.executable, "-m", "bench.provider.slow", str(port), str(PROVIDER_DELAY_MS)]
    child = Child("slow provider", argv, arena.log("slow-provider"))
    wait_until(lambda: listens(port), "the slow provider listens", _START_S, [child])
    return child


def _round(arena: Arena, run: str, backlog: int) -> dict[str, float]:
    arena.servers.forget(_LOW.queue)
    ours.declare(arena)
    if backlog:
        ours.fill_lane(arena, _LOW, backlog, run)
        wait_until(lambda: arena.servers.depth(_LOW.queue) == backlog, f"{_LOW.queue} holds {backlog}", _FILL_S)
    with ExitStack() as stack:
        gateway = ours.start_gateway(arena)
        stack.callback(gateway.stop)
        workers = ours.start_workers(arena, "push", ours.REPLICAS, arena.ports.slow_provider)
        for worker in workers:
            stack.callback(worker.stop)
        ours.wait_for_workers(arena, "push", workers)
        _warm_up(arena, run, workers, backlog)
        posted = probes.post_at_random(arena.ports.gateway, run, PROBES, _MEAN_GAP_S)
        left = arena.servers.depth(_LOW.queue)
        if backlog and not left:
            raise BenchFailed(f"the backlog of {backlog} was gone before the last probe: ask for a larger one")
        arrived = probes.arrivals(arena.ports.slow_provider, posted, workers)
    return _figures(posted, arrived) | {"backlog_left": left}


def _warm_up(arena: Arena, run: str, workers: list[Child], backlog: int) -> None:
    """Brings both workers to full speed, so that the probes meet neither a first message nor a first connection."""
    if backlog:
        wait_until(lambda: arena.servers.depth(_LOW.queue) < backlog * 0.97, "the backlog moves", _START_S, workers)
    warm = [f"probe-warm-{run}-{number}" for number in range(_WARM_UP_PROBES)]
    for request_id in warm:
        probes.post(arena.ports.gateway, request_id)
    probes.arrivals(arena.ports.slow_provider, warm, workers)


def _figures(posted: dict[str, Probe], arrived: dict[str, float]) -> dict[str, float]:
    # The time counts from the POST: the worker may have sent the message before the caller has read the 202.
    from_post = [arrived[request_id] - probe.posted_s for request_id, probe in posted.items()]
    from_202 = [arrived[request_id] - probe.accepted_s for request_id, probe in posted.items()]
    return {
        "p50_ms": percentile_ms(from_post, 50),
        "p99_ms": percentile_ms(from_post, 99),
        "from_202_p50_ms": percentile_ms(from_202, 50),
        "from_202_p99_ms": percentile_ms(from_202, 99),
    }
