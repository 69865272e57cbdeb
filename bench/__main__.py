"""Measures the product beside its peers, in one run: ``python -m bench [SUITES]``, all of them if none is named."""

import json
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import click
import structlog
from rich.console import Console, RenderableType

from bench import arena, earlier, procfs, venv
from bench.arena import Arena
from bench.contestants.contestant import Contestant
from bench.contestants.ours import Ours
from bench.contestants.peers import PEERS
from bench.errors import BenchFailed
from bench.ports import Ports
from bench.suites import gateway, isolation, memory, push, realtime, store

_SUITES = ["push", "gateway", "isolation", "memory", "store", "realtime"]
_MEMORY_MESSAGES = 10_000
#: An idle machine keeps at most this many cores busy.
_QUIET_CORES = 0.3
#: The widest table, in columns; a narrower terminal wraps it.
_WIDTH = 100
_TABLES: dict[str, Callable[[dict[str, Any]], RenderableType]] = {
    "push": push.table,
    "gateway": gateway.table,
    "isolation": isolation.table,
    "memory": memory.table,
    "store": store.table,
    "realtime": realtime.tables,
}
CONTESTANTS: list[Contestant] = [Ours(), *PEERS]


@click.command()
@click.argument("suites", nargs=-1, type=click.Choice(_SUITES))
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option("--count", default=20_000, show_default=True, help="Messages for each contestant of push.")
@click.option(
    "--rounds", default=5, show_default=True, help="Rounds of all but isolation and memory; the median counts."
)
@click.option("--against", metavar="COMMIT", help="Measure this earlier commit too, in push and gateway.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([contestant.name for contestant in CONTESTANTS]),
    help="Only this contestant of push (repeatable).",
)
@click.option("--backlog", default=100_000, show_default=True, help="Low-priority messages waiting, for isolation.")
@click.option("--sockets", default=5_000, show_default=True, help="Devices that are connected, for realtime.")
@click.option("--base-port", default=23000, show_default=True, help="First of a block of 100 free ports.")
def main(
    suites: tuple[str, ...],
    json_file: Path | None,
    count: int,
    rounds: int,
    against: str | None,
    only: tuple[str, ...],
    backlog: int,
    sockets: int,
    base_port: int,
) -> None:
    """Measure (everything, or the SUITES named), print a table for each, and exit 0; exit 1 if a contestant failed."""
    signal.signal(signal.SIGTERM, _interrupted)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    console = Console(width=max(Console().width, _WIDTH))
    results: dict[str, Any] = {}
    try:
        venv.prepare()
        _warn_if_busy(console)
        with nullcontext() if against is None else earlier.checked_out(against) as tree:
            contestants = [*CONTESTANTS, *([Ours(name=against, tree=tree)] if against and tree else [])]
            chosen = [each for each in contestants if not only or each.name in (*only, against)]
            measures: dict[str, Callable[[Arena], dict[str, Any]]] = {
                "push": lambda place: push.measure(place, chosen, count, rounds, console),
                "gateway": lambda place: gateway.measure(place, rounds, console, tree),
                "isolation": lambda place: isolation.measure(place, backlog, console),
                "memory": lambda place: memory.measure(place, _MEMORY_MESSAGES, console),
                "store": lambda place: store.measure(place, rounds, console),
                "realtime": lambda place: realtime.measure(place, sockets, rounds, console),
            }
            for suite in suites or _SUITES:
                # Each suite has servers of its own: no suite inherits another's memory, files or queues.
                with arena.opened(Ports(base_port)) as place:
                    results[suite] = measures[suite](place)
                console.print(_TABLES[suite](results[suite]))
    except BenchFailed as failed:
        console.print(str(failed), style="red", markup=False)
        sys.exit(1)
    finally:
        # The figures measured before a failure are kept.
        if json_file is not None and results:
            json_file.write_text(json.dumps(results, indent=2) + "\n")


def _warn_if_busy(console: Console) -> None:
    busy = procfs.busy_cores(over_s=1.0)
    if busy > _QUIET_CORES:
        console.print(
            f"Other processes keep {busy:.1f} cores busy: trust the ratios little, the figures not.", style="yellow"
        )


def _interrupted(number: int, frame: FrameType | None) -> None:
    # It acts like Ctrl-C: the servers and workers are ended before the program exits.
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
