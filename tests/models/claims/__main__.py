"""Runs the search: ``python -m tests.models.claims [--all] [--mutants] [--scenario NAME]``. Exits 1 on any trouble."""

from __future__ import annotations

import argparse
import sys
import time

from tests.models.claims.exploration import Found, explore
from tests.models.claims.rules import HARMLESS, MUTANTS, Rules
from tests.models.claims.scenarios import LONG, QUICK, Scenario


def caught(rules: Rules, scenarios: dict[str, Scenario]) -> tuple[str, Found] | None:
    """Returns the first scenario in which these rules break a promise, and how."""
    for name, scenario in scenarios.items():
        found = explore(rules, scenario)
        if found.wrong:
            return name, found
    return None


def run_scenarios(scenarios: dict[str, Scenario]) -> bool:
    well = True
    for name, scenario in scenarios.items():
        began = time.monotonic()
        found = explore(Rules(), scenario)
        took_s = time.monotonic() - began
        print(f"{name:28}{found.states:10} states {took_s:8.1f} s  {found}", flush=True)
        well = well and not found.wrong
    return well


def run_mutants(scenarios: dict[str, Scenario]) -> bool:
    well = True
    for name, rules in {**MUTANTS, **HARMLESS}.items():
        trouble = caught(rules, scenarios)
        shown = "as good as ours" if trouble is None else f"[{trouble[0]}] {trouble[1]}"
        print(f"\n{name}: {shown}", flush=True)
        well = well and (trouble is not None) == (name in MUTANTS)
    return well


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.models.claims")
    parser.add_argument("--all", action="store_true", help="the long scenarios too: many minutes, several GB")
    parser.add_argument("--mutants", action="store_true", help="each other reading of the rules instead of the code's")
    parser.add_argument("--scenario", action="append", choices=[*QUICK, *LONG], help="only this one; may be repeated")
    given = parser.parse_args()
    everything = {**QUICK, **LONG}
    names = given.scenario or (everything if given.all else QUICK)
    scenarios = {name: everything[name] for name in names}
    return 0 if (run_mutants if given.mutants else run_scenarios)(scenarios) else 1


if __name__ == "__main__":
    sys.exit(main())
