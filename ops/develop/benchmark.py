"""Implements ``./notify bench``, which replaces itself with the measurements of ``bench/``."""

import os
import sys
from pathlib import Path

import click

from ops.place import ROOT
from ops.servers import install
from ops.terminal import Terminal


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure this system and comparable ones: [NAMES] [--json FILE]."""
    install.ensure(["rabbitmq-server", "redis-server", "nginx", "postgres"], Terminal(stderr=True).print)
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "bench", *absolute_json(list(arguments))])


def absolute_json(arguments: list[str]) -> list[str]:
    """Makes FILE absolute: a relative one is meant from the directory in which the user called ``./notify``."""
    called_from = Path(os.environ.get("NOTIFY_CALLED_FROM", "."))
    for at, argument in enumerate(arguments):
        if argument.startswith("--json="):
            arguments[at] = f"--json={called_from / argument.removeprefix('--json=')}"
        elif argument == "--json" and at + 1 < len(arguments):
            arguments[at + 1] = str(called_from / arguments[at + 1])
    return arguments
