"""Implements ``./notify check``: format, lint, types and import directions, as CI and the commit hooks check them."""

import subprocess
import sys
from pathlib import Path

import click

from ops.errors import OpsError
from ops.place import ROOT
from ops.terminal import Terminal

CHECKS = {
    "format": ["ruff", "format", "--check"],
    "lint": ["ruff", "check"],
    "types": ["mypy", "--strict"],
    "imports": ["lint-imports"],
}


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, type=click.Choice(list(CHECKS)))
def check(names: tuple[str, ...]) -> None:
    """Check format, lint, types and imports, or only the given NAMEs. All checks run, even if one fails."""
    programs = Path(sys.executable).parent
    failed = []
    for name in names or CHECKS:
        program, *arguments = CHECKS[name]
        Terminal().print(f"{name}: {' '.join([program, *arguments])}", style="bold")
        if subprocess.run([programs / program, *arguments], cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    if failed:
        raise OpsError(f"These checks failed: {', '.join(failed)}")
