"""Gateway: accepts a second at 64 keep-alive connections, ours beside the usual way; and batches of 500."""

import json
import os
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import load, procfs
from bench.arena import Arena
from bench.contestants import ours, usual_gateway
from bench.envelopes import body, envelope
from bench.processes import Child, wait_until

CONNECTIONS = 64
BATCH = 500
BATCH_CONNECTIONS = 8
_WARM_UP_S = 2.0
_MEASURED_S = 8.0
_STORED_S = 30.0
#: As long as the ids that take its place, so that no length changes.
_PLACEHOLDER = "@" * 24


def measure(arena: Arena, console: Console) -> dict[str, Any]:
    """The same load on both, one after the other; then batches on ours."""
    results: dict[str, Any] = {}
    console.log("gateway: the usual way")
    results["usual"] = _single(arena, usual_gateway.start, usual_gateway.QUEUE, "usual")
    ours.declare(arena)
    console.log("gateway: ours")
    results["ours"] = _single(arena, ours.start_gateway, ours.queue("push"), "ours")
    console.log(f"gateway: ours, batches of {BATCH}")
    results["batch"] = _batches(arena)
    results["ratio"] = round(results["ours"]["per_s"] / results["usual"]["per_s"], 2)
    return results


def table(results: dict[str, Any]) -> Table:
    drawn = Table(title=f"gateway: accepted (confirmed) envelopes, {CONNECTIONS} keep-alive connections")
    drawn.add_column("gateway")
    for column in ("per s", "p50 ms", "p99 ms", "CPU ms each", "RabbitMQ ms", "Redis ms", "load ms"):
        drawn.add_column(column, justify="right")
    titles = {"usual": "usual way", "ours": f"ours ({results['ratio']:.1f} x)", "batch": f"ours, batches of {BATCH}"}
    for name, title in titles.items():
        row = results[name]
        times = [f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms")]
        costs = [f"{row[key]:.3f}" for key in ("cpu_ms", "rabbitmq_cpu_ms", "redis_cpu_ms", "load_cpu_ms")]
        drawn.add_row(title, f"{row['per_s']:,.0f}", *times, *costs)
    return drawn


def _single(arena: Arena, start: Callable[[Arena], Child], queue: str, run: str) -> dict[str, float]:
    requests = load.for_seconds(posts(arena.ports.gateway, run), _WARM_UP_S + _MEASURED_S)
    return _loaded(arena, start, queue, requests, CONNECTIONS, expected=202, envelopes_each=1)


def _batches(arena: Arena) -> dict[str, float]:
    requests = load.for_seconds(_batch_posts(arena.ports.gateway), _WARM_UP_S + _MEASURED_S)
    return _loaded(
        arena, ours.start_gateway, ours.queue("push"), requests, BATCH_CONNECTIONS, expected=200, envelopes_each=BATCH
    )


def _loaded(
    arena: Arena,
    start: Callable[[Arena], Child],
    queue: str,
    requests: Iterator[bytes],
    connections: int,
    *,
    expected: int,
    envelopes_each: int,
) -> dict[str, float]:
    """Start, load, and see that as many envelopes lie in ``queue`` as were confirmed."""
    arena.servers.forget()
    before = arena.servers.depth(queue)
    gateway = start(arena)
    try:
        before_s = _cpu_s(arena, gateway)
        figures = load.run(arena.ports.gateway, requests, connections, expected, _WARM_UP_S)
        after_s = _cpu_s(arena, gateway)
    finally:
        gateway.stop()
    stored = figures.answers * envelopes_each
    wait_until(lambda: arena.servers.depth(queue) - before == stored, f"{queue} holds {stored} more", _STORED_S)
    return {
        "per_s": round(figures.per_s * envelopes_each, 1),
        "p50_ms": figures.p50_ms,
        "p99_ms": figures.p99_ms,
        **{name: round(1000 * (after_s[name] - before_s[name]) / stored, 4) for name in before_s},
    }


def _cpu_s(arena: Arena, gateway: Child) -> dict[str, float]:
    """Seconds used so far; the load itself is measured too, so that it can be seen not to be the bottleneck."""
    pids = {
        "cpu_ms": gateway.pid,
        "rabbitmq_cpu_ms": arena.servers.rabbitmq_pid,
        "redis_cpu_ms": arena.servers.redis_pid,
    }
    used = {name: procfs.cpu_s(procfs.tree(pid)) for name, pid in pids.items()}
    return used | {"load_cpu_ms": procfs.cpu_s([os.getpid()])}


def posts(port: int, run: str) -> Iterator[bytes]:
    """Requests without end, each with a request_id of its own; ``run`` has at most six letters."""
    request = load.post("/notifications", port, body(_PLACEHOLDER))
    for number in count():
        yield request.replace(_PLACEHOLDER.encode(), _request_id(run, number))


def _batch_posts(port: int) -> Iterator[bytes]:
    # One substitution over the whole text makes every item new.
    item = json.dumps(envelope(_PLACEHOLDER), separators=(",", ":"))
    items = [item.replace(_PLACEHOLDER, f"%(run)s-{number:03}") for number in range(BATCH)]
    text = "[" + ",".join(items) + "]"
    for number in count():
        yield load.post("/notifications/batch", port, (text % {"run": f"batch-{number:014}"}).encode())


def _request_id(run: str, number: int) -> bytes:
    return f"{run:.<6}{number:018}".encode()
