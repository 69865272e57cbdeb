"""Measures how fast two worker processes empty a queue of ready envelopes, and how much CPU time one message takes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.arena import Arena
from bench.contestants.contestant import Contestant
from bench.percentiles import median_of, ratio
from bench.processes import Child, wait_until
from bench.steady import Steady, steady, watch

#: A contestant that is slower than this is reported as broken instead of measured.
_SLOWEST_PER_S = 60.0
_START_S = 60.0


@dataclass(frozen=True)
class PushFigures:
    """Holds the figures of one run. ``cpu_ms`` is the worker's CPU time per message; the other two are the servers'."""

    per_s: float
    cpu_ms: float
    rabbitmq_cpu_ms: float
    redis_cpu_ms: float


def measure(
    arena: Arena, contestants: Sequence[Contestant], count: int, rounds: int, console: Console
) -> dict[str, Any]:
    """Measures each contestant ``rounds`` times, interleaved: all of them once, then all of them again.

    Returns for each the median of every figure, and under ``rounds`` the figures of each round.
    """
    runs: dict[str, list[PushFigures]] = {contestant.name: [] for contestant in contestants}
    for number in range(1, rounds + 1):
        for contestant in contestants:
            console.log(f"push: {contestant.name}, round {number} of {rounds}, {count} messages")
            runs[contestant.name].append(_run(arena, contestant, count, f"{number}"))
    return {name: summary([asdict(run) for run in figures]) for name, figures in runs.items()}


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    return {**median_of(rounds), "rounds": rounds}


def table(results: dict[str, Any]) -> Table:
    drawn = Table(title="push: two worker processes, messages already queued; medians, with the spread of the ratios")
    for column in (
        "worker",
        "delivered/s",
        "CPU ms/message",
        "RabbitMQ ms",
        "Redis ms",
        "ours is faster",
        "and cheaper",
    ):
        drawn.add_column(column, justify="left" if column == "worker" else "right")
    ours = results.get("ours")
    for name, figures in results.items():
        faster = ratio(each(ours, "per_s"), each(figures, "per_s")).shown(2) if ours else "-"
        cheaper = ratio(each(figures, "cpu_ms"), each(ours, "cpu_ms")).shown(2) if ours else "-"
        servers = [f"{figures[server]:.2f}" for server in ("rabbitmq_cpu_ms", "redis_cpu_ms")]
        drawn.add_row(name, f"{figures['per_s']:,.0f}", f"{figures['cpu_ms']:.2f}", *servers, faster, cheaper)
    return drawn


def each(figures: dict[str, Any], figure: str) -> list[float]:
    """Returns one figure of every round."""
    return [one[figure] for one in figures["rounds"]]


def _run(arena: Arena, contestant: Contestant, count: int, run: str) -> PushFigures:
    arena.servers.forget(contestant.queue)
    contestant.fill(arena, count, run)
    # Messages were published without waiting for each one: some may still be on their way into the queue.
    wait_until(lambda: arena.servers.depth(contestant.queue) == count, f"{contestant.queue} holds {count}", _START_S)
    workers: list[Child] = []
    try:
        workers = contestant.start(arena)
        section = _watch(arena, workers, count)
    finally:
        for worker in workers:
            worker.stop()
    return PushFigures(section.per_s, *(section.cpu_ms[group] for group in ("worker", "rabbitmq", "redis")))


def _watch(arena: Arena, workers: list[Child], count: int) -> Steady:
    before = arena.provider.served()
    groups = {
        "worker": [worker.pid for worker in workers],
        "rabbitmq": [arena.servers.rabbitmq_pid],
        "redis": [arena.servers.redis_pid],
    }
    deadline_s = _START_S + count / _SLOWEST_PER_S
    return steady(watch(count, lambda: arena.provider.served() - before, groups, deadline_s, workers), count)
