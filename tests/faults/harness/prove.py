"""Implements ``./notify prove``: runs scenarios, shows the result of each, and writes the results down."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.place import ROOT
from shared.logs import configure_logs
from tests.faults.harness.scale import DEAD_LETTER_REPEAT_S, FACTOR
from tests.faults.harness.scenario import Scenario, load_scenarios
from tests.faults.harness.stage import staged
from tests.faults.harness.trial import Result, run
from tests.faults.mutations.mutants import MUTANTS
from tests.faults.mutations.mutation import Mutation
from tests.faults.mutations.trial import Verdict, try_all
from tests.faults.report import machine
from tests.faults.report.figures import Figures, read_figures
from tests.faults.report.report import quoted, totals, written
from tests.support.run.servers import end_leftovers, new_run_directory

#: stands for all mutations where the name of a scenario is expected
MUTATIONS = "mutations"
REPORT, README = ROOT / "docs" / "reliability.md", ROOT / "README.md"


@dataclass(frozen=True)
class Work:
    """Lists what is to be run: scenarios with their seeds, and mutations. The results are published if ``whole`` is
    set.
    """

    runs: list[tuple[Scenario, int]]
    mutants: list[Mutation]
    whole: bool


def main() -> None:
    """Exits with 0 if every promise was kept and every mutation caught, 1 if not, 2 for bad arguments."""
    arguments = parse(sys.argv[1:])
    configure_logs("prove", "ERROR")  # log lines of the senders' own connections are no result
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    work = left_over(arguments.resume) if arguments.resume else planned(arguments, seed)
    if arguments.resume:
        seed = arguments.resume.seed
    print(
        f"seed {seed}; times divided by {FACTOR}, dead letters repeated after {DEAD_LETTER_REPEAT_S:.0f} s", flush=True
    )
    directory = new_run_directory()
    about, began = machine.described(), time.monotonic()
    results = asyncio.run(prove(directory, work.runs))
    verdicts = mutate(directory, work.mutants, seed)
    figures = Figures(seed, time.monotonic() - began, about, results, verdicts)
    if arguments.resume:
        figures = arguments.resume.repeated(figures)
    print(totals(figures.results, figures.verdicts))
    write_down(figures, arguments.json, publish=work.whole)
    if figures.is_well:
        end_leftovers(directory)
    else:
        print(f"what the processes wrote is kept in {directory}")
    sys.exit(0 if figures.is_well else 1)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parses the command line. Exits with 2 for a bad option or an unknown scenario."""
    parser = argparse.ArgumentParser(prog="./notify prove", description="Break everything, and count what is lost.")
    parser.add_argument("scenario", nargs="*", help=f"names, or {MUTATIONS}; everything but the soak if none is given")
    parser.add_argument("--seed", type=int, help="what chance is drawn from; a random one if not given")
    parser.add_argument("--quick", action="store_true", help="only what is part of ./notify test")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="what a whole run wrote with --json: run again what was broken in it",
    )
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
    if arguments.resume is not None:
        try:
            arguments.resume = read_figures(arguments.resume)
        except (OSError, ValueError) as exc:
            parser.error(f"--resume: {exc}")
    return arguments


def planned(arguments: argparse.Namespace, seed: int) -> Work:
    """Returns the scenarios that were asked for, or everything if none was; scenarios that depend on chance get two
    seeds.
    """
    scenarios = load_scenarios()
    if arguments.scenario:
        named = [(scenarios[name], seed) for name in arguments.scenario if name != MUTATIONS]
        return Work(named, list(MUTANTS) if MUTATIONS in arguments.scenario else [], whole=False)
    usual = [each for each in scenarios.values() if not each.on_demand]
    if arguments.quick:
        return Work([(each, seed) for each in usual if each.quick], [], whole=False)
    # One seed is no proof for a scenario that depends on chance.
    runs = [(each, drawn) for each in usual for drawn in ((seed, seed + 1) if each.drawn else (seed,))]
    return Work(runs, list(MUTANTS), whole=True)


def left_over(earlier: Figures) -> Work:
    """Returns the scenarios and mutations that were broken or missed in an earlier whole run."""
    scenarios = load_scenarios()
    missed = {verdict.name for verdict in earlier.verdicts if not verdict.caught_by}
    return Work(
        [(scenarios[result.name], result.seed) for result in earlier.results if result.broken],
        [mutant for mutant in MUTANTS if mutant.name in missed],
        whole=True,
    )


async def prove(directory: Path, runs: Sequence[tuple[Scenario, int]]) -> list[Result]:
    """Runs the scenarios one after the other, on one set of servers."""
    results: list[Result] = []
    if not runs:
        return results
    async with staged(directory) as stage:
        for scenario, seed in runs:
            results.append(await run(stage, scenario, seed))
            show(results[-1])
    return results


def mutate(directory: Path, mutants: Sequence[Mutation], seed: int) -> list[Verdict]:
    verdicts = []
    for verdict in try_all(mutants, directory / MUTATIONS, seed):
        verdicts.append(verdict)
        fate = f"caught by {verdict.caught_by}" if verdict.caught_by else "NOT CAUGHT"
        print(f"{verdict.name:40} {fate} in {verdict.seconds:.1f} s")
        print(f"    {verdict.seen or verdict.problem}", flush=True)
    return verdicts


def write_down(figures: Figures, file: Path | None, *, publish: bool) -> None:
    """Writes the figures as JSON if asked for, and the report and the README's sentence after a whole run."""
    if file is not None:
        file.write_text(figures.to_json())
    if publish:
        REPORT.write_text(written(figures.results, figures.verdicts, figures.machine, figures.seed, figures.took_s))
        README.write_text(quoted(README.read_text(), totals(figures.results, figures.verdicts)))
        print(f"written: {REPORT.relative_to(ROOT)}")


def show(result: Result) -> None:
    """Prints one line for the result, and each broken promise under it."""
    recovery = "-" if result.recovery_s is None else f"{result.recovery_s:.1f} s"
    print(
        f"{result.name:40} {'BROKEN' if result.broken else 'ok':6} accepted {result.accepted} of {result.attempted}, "
        f"delivered {result.delivered}, recovered {result.recovered}, skipped {result.skipped}, "
        f"doubled {result.duplicated} of {result.allowed}, dead {result.dead_lettered}, LOST {result.lost}, "
        f"recovery {recovery}, in {result.seconds:.1f} s"
    )
    if result.devices:
        latest = "-" if result.longest_lag_s is None else f"{result.longest_lag_s:.2f} s"
        print(
            f"    {result.devices} devices showed {result.shown} changes, holes {result.holes}, doubles "
            f"{result.repeated}, latest {latest}, connections ended {result.ends or 'none'}"
        )
    for line in (*result.notes, *result.broken):
        print(f"    {line}", flush=True)
