"""Measures memory: what each process of the product holds at rest, and the most that it holds while it works."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import load, procfs
from bench.arena import Arena
from bench.contestants import ours
from bench.processes import Child, listens, wait_until
from bench.suites.gateway import CONNECTIONS, posts
from shared.message.channels import CHANNELS, Lane

_START_S = 60.0
_REST_S = 3.0
_ACCEPT_S = 8.0
_DRAIN_S = 120.0
_SAMPLE_EVERY_S = 0.2


@dataclass
class Peak:
    """Tracks the resident MB of each process of one tree; ``worst`` is the largest value seen for any one of them."""

    roots: list[int]
    rest: float = 0.0
    worst: float = 0.0
    processes: int = field(default=0)

    def look(self) -> None:
        sizes = [procfs.rss_mb(pid) for root in self.roots for pid in procfs.tree(root)]
        self.processes = len(sizes)
        self.worst = max([self.worst, *sizes])

    def rested(self) -> None:
        """Takes a sample and keeps the largest value so far as the size at rest."""
        self.look()
        self.rest = self.worst


def measure(arena: Arena, count: int, console: Console) -> dict[str, Any]:
    """Measures gateway and workers at rest, during accepts, and while ``count`` messages per channel are delivered."""
    arena.servers.forget(*(ours.queue(channel) for channel in CHANNELS))
    ours.declare(arena)
    with ExitStack() as stack:
        peaks, workers = _started(arena, stack)
        console.log("memory: at rest")
        time.sleep(_REST_S)
        for peak in peaks.values():
            peak.rested()
        console.log(f"memory: under load, {count} messages a channel")
        _load(arena, peaks, workers, count)
    return {
        name: {"rest_mb": round(peak.rest, 1), "load_mb": round(peak.worst, 1), "processes": peak.processes}
        for name, peak in peaks.items()
    }


def table(results: dict[str, Any]) -> Table:
    drawn = Table(title="memory: resident MB of the largest process of each kind")
    drawn.add_column("process")
    for column in ("at rest", "under load", "processes"):
        drawn.add_column(column, justify="right")
    for name, row in results.items():
        drawn.add_row(name, f"{row['rest_mb']:.0f}", f"{row['load_mb']:.0f}", str(row["processes"]))
    return drawn


def _started(arena: Arena, stack: ExitStack) -> tuple[dict[str, Peak], list[Child]]:
    mail = Child("mail", [sys.executable, "-m", "bench.provider.smtp", str(arena.ports.smtp)], arena.log("mail"))
    stack.callback(mail.stop)
    wait_until(lambda: listens(arena.ports.smtp), "the mail server listens", _START_S, [mail])
    gateway = ours.start_gateway(arena)
    stack.callback(gateway.stop)
    peaks = {"gateway": Peak([gateway.pid])}
    everyone: list[Child] = []
    for channel in CHANNELS:
        workers = ours.start_workers(arena, channel, 1)
        everyone += workers
        for worker in workers:
            stack.callback(worker.stop)
        ours.wait_for_workers(arena, channel, workers)
        peaks[channel] = Peak([worker.pid for worker in workers])
    return peaks, everyone


def _load(arena: Arena, peaks: dict[str, Peak], workers: list[Child], count: int) -> None:
    requests = _watched(load.for_seconds(posts(arena.ports.gateway, "memory"), _ACCEPT_S), peaks)
    load.run(arena.ports.gateway, requests, CONNECTIONS, expected=202, warm_up_s=0)
    for channel in CHANNELS:
        ours.fill_lane(arena, Lane(channel, "medium"), count, "memory")
    next_look_s = time.monotonic()

    def drained() -> bool:
        nonlocal next_look_s
        if time.monotonic() < next_look_s:
            return False
        next_look_s = time.monotonic() + _SAMPLE_EVERY_S
        for peak in peaks.values():
            peak.look()
        return not any(arena.servers.depth(ours.queue(channel)) for channel in CHANNELS)

    wait_until(drained, "every channel delivered", _DRAIN_S, workers)


def _watched(requests: Iterator[bytes], peaks: dict[str, Peak]) -> Iterator[bytes]:
    """Yields the same requests and, from time to time between two of them, samples the memory."""
    next_look_s = time.monotonic()
    for request in requests:
        if time.monotonic() > next_look_s:
            next_look_s = time.monotonic() + _SAMPLE_EVERY_S
            for peak in peaks.values():
                peak.look()
        yield request
