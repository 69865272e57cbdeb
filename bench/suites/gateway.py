"""Measures accepts per second at 64 keep-alive connections, the product's beside the usual way; and batches of 500."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import load, procfs
from bench.arena import Arena
from bench.contestants import ours, usual_gateway
from bench.envelopes import body, envelope
from bench.percentiles import median_of, ratio
from bench.processes import ROOT, Child, wait_until

CONNECTIONS = 64
BATCH = 500
BATCH_CONNECTIONS = 8
_WARM_UP_S = 2.0
_MEASURED_S = 8.0
_STORED_S = 30.0


@dataclass(frozen=True)
class Shape:
    """Describes a load: its connections, the status of every answer, the envelopes in a request."""

    connections: int
    expected: int
    envelopes: int


_SINGLE = Shape(CONNECTIONS, 202, 1)
_BATCHED = Shape(BATCH_CONNECTIONS, 200, BATCH)
#: It is as long as the ids that replace it, so that no length changes.
_PLACEHOLDER = "@" * 24


def measure(arena: Arena, rounds: int, console: Console, earlier: Path | None = None) -> dict[str, Any]:
    """Measures ``rounds`` times, interleaved: the usual way, the product, its batches, and the same of ``earlier``.

    Returns for each the median of every figure, and under ``rounds`` the figures of each round.
    """
    loads: dict[str, Callable[[Arena, str], dict[str, float]]] = {"usual": _usual, "ours": _ours, "batch": _batch}
    if earlier is not None:
        loads |= {"earlier": partial(_ours, tree=earlier), "earlier batch": partial(_batch, tree=earlier)}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in loads}
    for number in range(1, rounds + 1):
        for index, (name, load_it) in enumerate(loads.items()):
            console.log(f"gateway: {_TITLES[name]}, round {number} of {rounds}")
            runs[name].append(load_it(arena, f"g{index}r{number}"))
    return {name: {**median_of(figures), "rounds": figures} for name, figures in runs.items()}


def table(results: dict[str, Any]) -> Table:
    drawn = Table(title=f"gateway: accepted (confirmed) envelopes, {CONNECTIONS} keep-alive connections")
    drawn.add_column("gateway")
    for column in ("per s", "p50 ms", "p99 ms", "CPU ms each", "RabbitMQ ms", "Redis ms", "load ms"):
        drawn.add_column(column, justify="right")
    for name, row in results.items():
        times = [f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms")]
        costs = [f"{row[key]:.3f}" for key in ("cpu_ms", "rabbitmq_cpu_ms", "redis_cpu_ms", "load_cpu_ms")]
        drawn.add_row(_TITLES[name] + _compared(results, name), f"{row['per_s']:,.0f}", *times, *costs)
    return drawn


def _compared(results: dict[str, Any], name: str) -> str:
    """Returns how much faster it is than its counterpart; '' if there is nothing to compare."""
    other = _COMPARED.get(name)
    if other not in results:
        return ""
    above, below = ([one["per_s"] for one in results[each]["rounds"]] for each in (name, other))
    return f", {ratio(above, below)} {_TITLES[other]}"


def _usual(arena: Arena, run: str) -> dict[str, float]:
    return _loaded(arena, usual_gateway.start, usual_gateway.QUEUE, posts(arena.ports.gateway, run), _SINGLE)


def _ours(arena: Arena, run: str, tree: Path = ROOT) -> dict[str, float]:
    start = partial(ours.start_gateway, tree=tree)
    return _loaded(arena, start, ours.queue("push"), posts(arena.ports.gateway, run), _SINGLE)


def _batch(arena: Arena, run: str, tree: Path = ROOT) -> dict[str, float]:
    start = partial(ours.start_gateway, tree=tree)
    return _loaded(arena, start, ours.queue("push"), _batches(arena.ports.gateway, run), _BATCHED)


def _loaded(
    arena: Arena,
    start: Callable[[Arena], Child],
    queue: str,
    requests: Iterator[bytes],
    shape: Shape,
) -> dict[str, float]:
    """Starts the gateway, loads it, and checks that ``queue`` holds as many envelopes as were confirmed."""
    arena.servers.forget(queue)
    ours.declare(arena)
    gateway = start(arena)
    try:
        before_s = _cpu_s(arena, gateway)
        timed = load.for_seconds(requests, _WARM_UP_S + _MEASURED_S)
        figures = load.run(arena.ports.gateway, timed, shape.connections, shape.expected, _WARM_UP_S)
        after_s = _cpu_s(arena, gateway)
    finally:
        gateway.stop()
    stored = figures.answers * shape.envelopes
    wait_until(lambda: arena.servers.depth(queue) == stored, f"{queue} holds {stored}", _STORED_S)
    return {
        "per_s": round(figures.per_s * shape.envelopes, 1),
        "p50_ms": figures.p50_ms,
        "p99_ms": figures.p99_ms,
        **{name: round(1000 * (after_s[name] - before_s[name]) / stored, 4) for name in before_s},
    }


def _cpu_s(arena: Arena, gateway: Child) -> dict[str, float]:
    """Returns the seconds used so far, those of the load too: they show that the load is not the bottleneck."""
    pids = {
        "cpu_ms": gateway.pid,
        "rabbitmq_cpu_ms": arena.servers.rabbitmq_pid,
        "redis_cpu_ms": arena.servers.redis_pid,
    }
    used = {name: procfs.cpu_s(procfs.tree(pid)) for name, pid in pids.items()}
    return used | {"load_cpu_ms": procfs.cpu_s([os.getpid()])}


def posts(port: int, run: str) -> Iterator[bytes]:
    """Yields requests without end, each with a request_id of its own; ``run`` has at most six characters."""
    request = load.post("/notifications", port, body(_PLACEHOLDER))
    for number in count():
        yield request.replace(_PLACEHOLDER.encode(), _request_id(run, number))


def _batches(port: int, run: str) -> Iterator[bytes]:
    # One substitution over the whole text makes every item new.
    item = json.dumps(envelope(_PLACEHOLDER), separators=(",", ":"))
    items = [item.replace(_PLACEHOLDER, f"%(run)s-{number:03}") for number in range(BATCH)]
    text = "[" + ",".join(items) + "]"
    for number in count():
        yield load.post("/notifications/batch", port, (text % {"run": f"{run:.<6}{number:014}"}).encode())


def _request_id(run: str, number: int) -> bytes:
    return f"{run:.<6}{number:018}".encode()


_TITLES = {
    "usual": "the usual way",
    "ours": "ours",
    "batch": f"ours, batches of {BATCH}",
    "earlier": "the earlier commit",
    "earlier batch": f"the earlier commit, batches of {BATCH}",
}
#: The key is compared with the value.
_COMPARED = {"ours": "usual", "earlier": "ours", "earlier batch": "batch"}
