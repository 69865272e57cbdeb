"""Implements ``./notify prove``: injects faults and counts lost messages. The scenarios are in ``tests/faults/``."""

import os
import sys

import click

from ops.develop.benchmark import absolute_json
from ops.place import ROOT
from ops.servers import install
from ops.terminal import Terminal


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def prove(arguments: tuple[str, ...]) -> None:
    """Run every fault scenario, or only the named ones: [SCENARIO ...] [--seed N] [--quick] [--json FILE]."""
    if not {"-h", "--help"} & set(arguments):
        install.ensure(["rabbitmq-server", "redis-server"], Terminal(stderr=True).print)
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "tests.faults", *absolute_json(list(arguments))])
