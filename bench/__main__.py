"""``python -m bench [push|gateway|isolation|memory ...]``: ours beside its peers, on this machine, in this run."""

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from bench import arena, venv
from bench.contestants.peers import PEERS
from bench.errors import BenchFailed
from bench.ports import Ports
from bench.suites import push

_SUITES = ["push", "gateway", "isolation", "memory"]


@click.command()
@click.argument("suites", nargs=-1, type=click.Choice(_SUITES))
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option("--count", default=20_000, show_default=True, help="Messages for each contestant of push.")
@click.option("--rounds", default=1, show_default=True, help="Rounds of push; the median counts.")
@click.option("--only", multiple=True, help="Only these contestants of push.")
@click.option("--base-port", default=23000, show_default=True, help="First of a block of 100 free ports.")
def main(
    suites: tuple[str, ...], json_file: Path | None, count: int, rounds: int, only: tuple[str, ...], base_port: int
) -> None:
    """Measure, print a table for each suite, and exit 0; 1 if a contestant failed."""
    signal.signal(signal.SIGTERM, _interrupted)
    console = Console()
    results: dict[str, Any] = {}
    try:
        venv.prepare()
        with arena.opened(Ports(base_port)) as place:
            contestants = [contestant for contestant in PEERS if not only or contestant.name in only]
            if not suites or "push" in suites:
                results["push"] = push.measure(place, contestants, count, rounds, console)
                console.print(push.table(results["push"]))
    except BenchFailed as failed:
        console.print(f"[red]{failed}")
        sys.exit(1)
    if json_file is not None:
        json_file.write_text(json.dumps(results, indent=2) + "\n")


def _interrupted(number: int, frame: FrameType | None) -> None:
    # As Ctrl-C: the servers and workers are ended on the way out.
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
