"""``./notify prove``: run scenarios, show what came of each, and write the results down."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ops.place import ROOT
from shared.logs import configure_logs
from tests.faults import machine
from tests.faults.mutants import MUTANTS
from tests.faults.mutations import Verdict, try_all
from tests.faults.report import quoted, totals, written
from tests.faults.scale import DEAD_LETTER_REPEAT_S, FACTOR
from tests.faults.scenario import Scenario, load_scenarios
from tests.faults.stage import staged
from tests.faults.trial import Result, run
from tests.servers import end_leftovers, new_run_directory

#: stands for all mutations where a scenario's name is expected
MUTATIONS = "mutations"
REPORT, README = ROOT / "docs" / "reliability.md", ROOT / "README.md"


def main() -> None:
    """Exit 0 if every promise was kept and every mutation caught, 1 if not, 2 for bad arguments."""
    arguments = parse(sys.argv[1:])
    configure_logs("prove", "ERROR")  # what the senders' own connections say is no result
    began = time.monotonic()
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    print(
        f"seed {seed}; times divided by {FACTOR}, dead letters repeated after {DEAD_LETTER_REPEAT_S:.0f} s", flush=True
    )
    directory = new_run_directory()
    # Where chance has a say one seed is no proof.
    seeds = (seed, seed + 1) if is_whole(arguments) else (seed,)
    results = asyncio.run(prove(directory, chosen(arguments), seeds))
    verdicts = mutate(directory, arguments, seed)
    is_well = not any(result.broken for result in results) and all(verdict.caught_by for verdict in verdicts)
    print(totals(results, verdicts))
    write_down(arguments, results, verdicts, seed, time.monotonic() - began)
    if is_well:
        end_leftovers(directory)
    else:
        print(f"what the processes wrote is kept in {directory}")
    sys.exit(0 if is_well else 1)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Exits with 2 for a bad option or an unknown scenario."""
    parser = argparse.ArgumentParser(prog="./notify prove", description="Break everything, and count what is lost.")
    parser.add_argument("scenario", nargs="*", help=f"names, or {MUTATIONS}; everything but the soak if none is given")
    parser.add_argument("--seed", type=int, help="what chance is drawn from; a random one if not given")
    parser.add_argument("--quick", action="store_true", help="only what is part of ./notify test")
    parser.add_argument("--list", action="store_true", help="show what there is, and run nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    arguments = parser.parse_args(words)
    scenarios = load_scenarios()
    if arguments.list:
        for scenario in scenarios.values():
            print(f"{scenario.name:40} {scenario.says}")
        sys.exit(0)
    unknown = [name for name in arguments.scenario if name not in scenarios and name != MUTATIONS]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; --list shows them")
    return arguments


def is_whole(arguments: argparse.Namespace) -> bool:
    return not arguments.scenario and not arguments.quick


def chosen(arguments: argparse.Namespace) -> list[Scenario]:
    scenarios = load_scenarios()
    if arguments.scenario:
        return [scenarios[name] for name in arguments.scenario if name != MUTATIONS]
    return [each for each in scenarios.values() if (each.quick or not arguments.quick) and not each.on_demand]


async def prove(directory: Path, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> list[Result]:
    """Run them; those in which chance has a say with each of the seeds."""
    results: list[Result] = []
    if not scenarios:
        return results
    async with staged(directory) as stage:
        for scenario in scenarios:
            for seed in seeds if scenario.drawn else seeds[:1]:
                results.append(await run(stage, scenario, seed))
                show(results[-1])
    return results


def mutate(directory: Path, arguments: argparse.Namespace, seed: int) -> list[Verdict]:
    if not is_whole(arguments) and MUTATIONS not in arguments.scenario:
        return []
    verdicts = []
    for verdict in try_all(MUTANTS, directory / MUTATIONS, seed):
        verdicts.append(verdict)
        fate = f"caught by {verdict.caught_by}" if verdict.caught_by else "NOT CAUGHT"
        print(f"{verdict.name:40} {fate} in {verdict.seconds:.1f} s")
        print(f"    {verdict.seen or verdict.problem}", flush=True)
    return verdicts


def write_down(
    arguments: argparse.Namespace, results: Sequence[Result], verdicts: Sequence[Verdict], seed: int, took_s: float
) -> None:
    """The figures as JSON if asked for; the report and the README's sentence after a whole run."""
    about = machine.described()
    if arguments.json is not None:
        figures = {
            "seed": seed,
            "factor": FACTOR,
            "took_s": round(took_s, 1),
            "machine": about,
            "results": [asdict(result) for result in results],
            "mutations": [asdict(verdict) for verdict in verdicts],
        }
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    if is_whole(arguments):
        REPORT.write_text(written(results, verdicts, about, seed, took_s))
        README.write_text(quoted(README.read_text(), totals(results, verdicts)))
        print(f"written: {REPORT.relative_to(ROOT)}")


def show(result: Result) -> None:
    """One line, and what was broken under it."""
    recovery = "-" if result.recovery_s is None else f"{result.recovery_s:.1f} s"
    print(
        f"{result.name:40} {'BROKEN' if result.broken else 'ok':6} accepted {result.accepted} of {result.attempted}, "
        f"delivered {result.delivered}, recovered {result.recovered}, skipped {result.skipped}, "
        f"doubled {result.duplicated} of {result.allowed}, dead {result.dead_lettered}, LOST {result.lost}, "
        f"recovery {recovery}, in {result.seconds:.1f} s"
    )
    for line in (*result.notes, *result.broken):
        print(f"    {line}", flush=True)
