"""Implements ``./notify up``, which runs the whole system in the foreground or the background."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import click

from ops.errors import OpsError
from ops.place import ROOT
from ops.processes import tail
from ops.settings import Configuration, load
from ops.signals import stop_requested
from ops.system import health
from ops.system.fleet import programs
from ops.system.keeper import Keeper, refuse_second, sole_keeper
from ops.system.log_view import LogFile, render
from ops.system.refusals import Refusals
from ops.system.supervision import Supervisor
from ops.system.welcome import welcome
from ops.terminal import Terminal

_POLL_S = 0.2
_NONE: Mapping[str, str] = {}


@click.command()
@click.option("-d", "--detach", is_flag=True, help="Run in the background; return when everything is healthy.")
@click.option("--show-logs/--no-show-logs", default=True, help="Show the logs of the processes, in the foreground.")
def up(detach: bool, show_logs: bool) -> None:
    """Start the whole system and keep it running."""
    configuration = load()
    refuse_second(configuration.place)
    if detach:
        console = Terminal()
        start_in_background(configuration, console)
        console.print(welcome(configuration))
    else:
        _foreground(configuration, show_logs)


def _foreground(configuration: Configuration, show_logs: bool) -> None:
    """Keeps the system running until a signal asks to stop it. Raises OpsError."""
    # The system goes on when nobody reads what this command prints, or the disk is full.
    console = Terminal(unfailing=True)
    place = configuration.place
    with sole_keeper(place), stop_requested():
        keeper = Keeper(configuration, console.print)
        try:
            with console.status("Preparing ..."):
                keeper.prepare()
                keeper.start()
            logs = {
                program.name: LogFile(place.log_file(program.name), from_end=True)
                for program in (programs(configuration) if show_logs else [])
            }
            _hold(configuration, keeper, console, logs)
        except KeyboardInterrupt:
            console.print("Stopping: every process finishes the messages in progress ...")
        finally:
            keeper.stop()
        console.print("Stopped.")


def _hold(configuration: Configuration, keeper: Keeper, console: Terminal, logs: dict[str, LogFile]) -> None:
    """Shows the processes' logs until an interrupt, and the addresses as soon as everything is healthy.

    Raises BadSetting if a process refuses its settings at the start.
    """

    def each_turn() -> None:
        keeper.check()
        for name, log in logs.items():
            for line in log.new_lines():
                console.print(render(name, line))

    refusals = Refusals(configuration.place, [program.name for program in programs(configuration)])

    def while_starting() -> None:
        each_turn()
        refusals.check()

    with console.status("Waiting until everything is healthy ..."):
        try:
            wait_healthy(configuration, keeper.supervisor, while_starting)
            console.print(welcome(configuration))
        except Unhealthy as exc:
            console.print(f"{exc}\nThe system still runs; Ctrl-C stops it.", style="yellow")
    while True:
        each_turn()
        time.sleep(_POLL_S)


class Unhealthy(OpsError):
    """Says that the processes run, but not all were healthy in time; the text names the unhealthy parts."""


def wait_healthy(configuration: Configuration, supervisor: Supervisor, each_turn: Callable[[], None]) -> None:
    """Returns when /health is healthy. Raises Unhealthy after ``NOTIFY_UP_TIMEOUT_S``, and errors of ``each_turn``."""
    timeout_s = configuration.local.up_timeout_s
    deadline = time.monotonic() + timeout_s
    while not health.is_healthy(configuration):
        each_turn()
        if time.monotonic() > deadline:
            found = health.complaints(configuration, supervisor.states(), configuration.place.log_file)
            raise Unhealthy(f"Not healthy after {timeout_s:.0f} s:\n" + "\n".join(found or ["gateway: not healthy"]))
        time.sleep(_POLL_S)


class KeeperEnded(OpsError):
    """Says that the process in the background has ended; the command passes on its last lines and its exit code."""

    def __init__(self, last_words: str, exit_code: int) -> None:
        super().__init__(last_words)
        # A negative exit code is a signal: the process was killed.
        self.exit_code = exit_code if exit_code > 0 else 1


def start_in_background(configuration: Configuration, console: Terminal, variables: Mapping[str, str] = _NONE) -> None:
    """Starts a keeper that outlives this process, and returns when everything is healthy. Raises OpsError.

    ``variables`` are added to the environment of every process.
    """
    place = configuration.place
    output = place.log_file("up")
    with console.status("Preparing ..."):
        with sole_keeper(place):
            Keeper(configuration, console.print).prepare()
        output.parent.mkdir(parents=True, exist_ok=True)
        child = _start_keeper(output.open("wb"), variables)

        def still_there() -> None:
            if child.poll() is not None:
                raise KeeperEnded(tail(output), child.returncode)

        with stop_requested():
            try:
                wait_healthy(configuration, Supervisor(place), still_there)
            except KeyboardInterrupt:
                child.terminate()
                child.wait()
                raise OpsError("Interrupted; everything has been stopped.") from None
            except Unhealthy as exc:
                raise OpsError(f"{exc}\nThe system still runs: ./notify logs NAME, ./notify down") from exc


def _start_keeper(output: "subprocess._FILE", variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # The processes' logs go to their own files, which are rotated; this output is not rotated.
        [sys.executable, "-m", "ops", "up", "--no-show-logs"],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # Ctrl-C and hang-up of the terminal end only the command that waits, not the system.
        start_new_session=True,
    )
