"""``./notify check``: format, lint and types, the same here and in CI."""

import subprocess
import sys

import click

from ops.errors import OpsError
from ops.place import ROOT

_CHECKS = {
    "format": ["ruff", "format", "--check"],
    "lint": ["ruff", "check"],
    "types": ["mypy", "--strict"],
}


@click.command()
def check() -> None:
    """Check format, lint and types; all of them, even if one fails."""
    failed = []
    for name, arguments in _CHECKS.items():
        click.secho(f"{name}: {' '.join(arguments)}", bold=True)
        if subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    if failed:
        raise OpsError(f"Failed: {', '.join(failed)}")
