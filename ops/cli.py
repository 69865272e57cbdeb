"""The command line: one row a subcommand, imported only when it is called."""

import importlib
import sys

import click

from ops.errors import OpsError
from shared import version

#: name -> (module:attribute, what --help says of it)
COMMANDS = {
    "up": ("ops.system.up:up", "Start the whole system and keep it up."),
    "down": ("ops.system.down:down", "Stop it."),
    "status": ("ops.system.status:status", "Show every process and server."),
    "logs": ("ops.system.logs:logs", "Show what the processes wrote."),
    "demo": ("ops.demo.command:demo", "Show what it does, step by step."),
    "failed": ("ops.failed.command:failed", "Look into failed.queue; replay or discard."),
    "breaker": ("ops.breaker.command:breaker", "Look at the breakers; force one open or closed."),
    "key": ("ops.key:key", "Make keys for the gateway's callers."),
    "test": ("ops.develop.testing:test", "Run the tests against private servers."),
    "check": ("ops.develop.check:check", "Check format, lint and types."),
    "bench": ("ops.develop.benchmark:bench", "Measure it beside its peers."),
    "prove": ("ops.develop.proving:prove", "Break everything, and count what is lost."),
}


class Commands(click.Group):
    """Imports a subcommand when it is called, so that each starts as fast as what it needs itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), message="notify %(version)s")
def command() -> None:
    """Fault-tolerant notifications: run, watch and test the whole system.

    Exit codes: 0 done, 1 failed, 2 bad usage or setting, 3 not running, 4 already running, 5 locked by another
    operator.
    """


def main() -> None:
    """Run, and end the process with the exit code of what happened."""
    try:
        command.main(prog_name="./notify", standalone_mode=True)
    except OpsError as exc:
        click.echo(str(exc), err=True)
        sys.exit(exc.exit_code)
