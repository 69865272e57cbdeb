"""``./notify check``: format, lint, types and import directions, the same here and in CI."""

import subprocess
import sys
from pathlib import Path

import click

from ops.errors import OpsError
from ops.place import ROOT

_CHECKS = {
    "format": ["ruff", "format", "--check"],
    "lint": ["ruff", "check"],
    "types": ["mypy", "--strict"],
    "imports": ["lint-imports"],
}


@click.command()
def check() -> None:
    """Check format, lint, types and import directions; all of them, even if one fails."""
    programs = Path(sys.executable).parent
    failed = []
    for name, (program, *arguments) in _CHECKS.items():
        click.secho(f"{name}: {' '.join([program, *arguments])}", bold=True)
        if subprocess.run([programs / program, *arguments], cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    if failed:
        raise OpsError(f"Failed: {', '.join(failed)}")
