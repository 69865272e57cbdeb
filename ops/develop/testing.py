"""``./notify test``: pytest, with private servers that the tests start and stop themselves."""

import os
import sys

import click

from ops.place import ROOT
from ops.servers import install

#: two processes with servers of their own, whole files each, in the order that tests/conftest.py gives
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run all tests in two processes; or in one what ARGUMENTS (of pytest) select."""
    install.ensure(["rabbitmq-server", "redis-server"], lambda line: click.echo(line, err=True))
    os.chdir(ROOT)
    # In our place, so that pytest's closing line is the last of all and its exit code is ours.
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *(arguments or SIDE_BY_SIDE)])
