"""Tries mutations: each changes a copy of the product, and a scenario that runs there must turn red."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ops.place import ROOT
from tests.faults.mutations.mutation import DoesNotApply, Mutation, mutate

#: files and folders that a copy needs to run scenarios
COPIED = ("shared", "gateway", "services", "sandbox", "ops", "tests", "clients", "pyproject.toml", "VERSION")
#: number of copies tried at the same time: most of a trial is waiting
AT_ONCE = 2
#: limit of one run of the scenarios for one mutation, seconds
LONGEST_S = 300.0


@dataclass
class Verdict:
    """Holds the result for one mutation. ``caught_by`` is the scenario that turned red for the right reason, '' if none
    did.
    """

    name: str
    does: str
    caught_by: str = ""
    #: the broken promises that the scenario reported
    seen: str = ""
    seconds: float = 0.0
    #: the error of the mutation itself, if there was one
    problem: str = ""
    tried: list[str] = field(default_factory=list)


def copy_tree(to: Path) -> None:
    """Copies the product and the harness, without the files that runs leave behind."""
    for name in COPIED:
        source = ROOT / name
        if source.is_file():
            shutil.copy2(source, to / name)
        else:
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))


def try_all(mutations: Sequence[Mutation], directory: Path, seed: int) -> Iterator[Verdict]:
    """Tries AT_ONCE mutations at a time and yields their verdicts in order.

    Each has a copy and servers of its own; the copy is removed once the mutation was caught.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda mutation: _try(mutation, directory / mutation.name, seed), mutations)


def _try(mutation: Mutation, tree: Path, seed: int) -> Verdict:
    verdict = Verdict(mutation.name, mutation.does)
    began = time.monotonic()
    tree.mkdir(parents=True)
    try:
        copy_tree(tree)
        mutate(tree, mutation)
        for scenario in mutation.noticed_by:
            verdict.tried.append(scenario)
            said = _broken_in(tree, scenario, seed)
            seen = [line for line in said if line.startswith(mutation.breaks)]
            if seen:
                verdict.caught_by, verdict.seen = scenario, seen[0]
                shutil.rmtree(tree)
                break
            verdict.seen = "; ".join(said)
    except (DoesNotApply, subprocess.SubprocessError, OSError) as exc:
        verdict.problem = str(exc)
    verdict.seconds = time.monotonic() - began
    return verdict


def _broken_in(tree: Path, scenario: str, seed: int) -> Sequence[str]:
    """Returns the promises that ``scenario`` reports as broken by the product in ``tree``."""
    answer = tree / "result.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.faults", scenario, "--seed", str(seed), "--json", str(answer)]
    with (tree / "output.log").open("ab") as output:
        subprocess.run(command, cwd=tree, stdout=output, stderr=output, timeout=LONGEST_S, check=False)
    results = json.loads(answer.read_text())["results"]
    return [line for result in results for line in result["broken"]]
