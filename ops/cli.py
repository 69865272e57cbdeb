"""Defines the command line: one row per subcommand, which is imported only when it is called."""

import importlib
import io
import sys
from typing import Any

import click

from ops.errors import OpsError
from ops.terminal import Terminal
from shared import version
from shared.process.printable import printable_lines

#: name -> (module:attribute, the text in --help)
COMMANDS = {
    "up": ("ops.system.up:up", "Start the whole system and keep it running."),
    "down": ("ops.system.down:down", "Stop the whole system."),
    "status": ("ops.system.status:status", "Show every process and server."),
    "logs": ("ops.system.logs:logs", "Show the logs of the processes."),
    "demo": ("ops.demo.command:demo", "Show the main functions step by step."),
    "failed": ("ops.failed.command:failed", "Show, replay or discard messages in failed.queue."),
    "store": ("ops.store.command:store", "Migrate and keep the database of the inboxes."),
    "breaker": ("ops.breaker.command:breaker", "Show the breakers; force one open or closed."),
    "key": ("ops.key:key", "Make API keys for the gateway's callers."),
    "test": ("ops.develop.testing:test", "Run the tests against private servers."),
    "check": ("ops.develop.check:check", "Check format, lint, types and imports."),
    "bench": ("ops.develop.benchmark:bench", "Measure the system and comparable ones."),
    "prove": ("ops.develop.proving:prove", "Inject faults and count lost messages."),
}


class Commands(click.Group):
    """Imports a subcommand only when it is called, so that no command waits for the imports of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as exc:
            # click names the user's own words, which may be pasted from what others wrote.
            said = exc.format_message()
            if printable_lines(said) == said:
                raise
            raise click.UsageError(printable_lines(said), exc.ctx) from exc

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
    """Runs the command, and ends the process with the command's exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        command.main(prog_name="./notify", standalone_mode=True)
    except OpsError as exc:
        Terminal(stderr=True).print(str(exc))
        sys.exit(exc.exit_code)
