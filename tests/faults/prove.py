"""Run scenarios, show what came of each, and write the results down."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.logs import configure_logs
from tests.faults.scale import DEAD_LETTER_REPEAT_S, FACTOR
from tests.faults.scenario import Scenario, load_scenarios
from tests.faults.stage import staged
from tests.faults.trial import Result, run
from tests.servers import end_leftovers, new_run_directory


def main() -> None:
    """Exit 0 if every promise was kept, 1 if one was broken, 2 for bad arguments."""
    arguments = parse(sys.argv[1:])
    scenarios = load_scenarios()
    chosen = choose(scenarios, arguments.scenario, quick=arguments.quick)
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    print(f"seed {seed}; times divided by {FACTOR}, dead letters repeated after {DEAD_LETTER_REPEAT_S:.0f} s")
    directory = new_run_directory()
    # What the senders' own connections say is no result.
    configure_logs("prove", "ERROR")
    results = asyncio.run(prove(directory, chosen, seed))
    broken = [result for result in results if result.broken]
    if not broken:
        end_leftovers(directory)
    sys.exit(1 if broken else 0)


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./notify prove", description="Break everything, and count what is lost.")
    parser.add_argument("scenario", nargs="*", help="names; all if none is given")
    parser.add_argument("--seed", type=int, help="what chance is drawn from; a random one if not given")
    parser.add_argument("--quick", action="store_true", help="the set that is part of ./notify test")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    return parser.parse_args(words)


def choose(scenarios: dict[str, Scenario], names: Sequence[str], *, quick: bool) -> list[Scenario]:
    """Raises SystemExit naming an unknown one."""
    unknown = [name for name in names if name not in scenarios]
    if unknown:
        raise SystemExit(f"no such scenario: {', '.join(unknown)}; there are {', '.join(scenarios)}")
    if names:
        return [scenarios[name] for name in names]
    return [each for each in scenarios.values() if (each.quick or not quick) and not each.on_demand]


async def prove(directory: Path, chosen: Sequence[Scenario], seed: int) -> list[Result]:
    results = []
    async with staged(directory) as stage:
        for scenario in chosen:
            result = await run(stage, scenario, seed)
            show(result)
            results.append(result)
    return results


def show(result: Result) -> None:
    """One line, and what was broken under it."""
    verdict = "BROKEN" if result.broken else "ok"
    recovery = "-" if result.recovery_s is None else f"{result.recovery_s:.1f} s"
    print(
        f"{result.name:40} {verdict:6} attempted {result.attempted} accepted {result.accepted} "
        f"delivered {result.delivered} recovered {result.recovered} skipped {result.skipped} "
        f"duplicated {result.duplicated}/{result.allowed} dead {result.dead_lettered} LOST {result.lost} "
        f"recovery {recovery} in {result.seconds:.1f} s",
        flush=True,
    )
    for line in (*result.notes, *result.broken):
        print(f"    {line}", flush=True)
