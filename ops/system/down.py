"""Implements ``./notify down``, which stops everything that ``up`` has started."""

import os
import signal
from collections.abc import Callable

import click

from ops.errors import NotRunning, OpsError
from ops.place import Place
from ops.settings import Configuration, find_place, load
from ops.system.keeper import Keeper, sole_keeper
from ops.terminal import Terminal

# supervisord ends the workers in parallel and gives them 35 s; after that RabbitMQ needs up to 30 s.
_STOP_S = 120.0


@click.command()
def down() -> None:
    """Stop the system, and any process that a killed system left running."""
    # A setting that has become invalid since the start must not prevent the stop.
    say = Terminal().print
    if not stop_keeper(find_place(), say):
        stop(load(), say)


def stop(configuration: Configuration, say: Callable[[str], None]) -> None:
    """Stops the system. Returns when none of its processes runs. Raises OpsError, or NotRunning if none was running."""
    if stop_keeper(configuration.place, say):
        return
    with sole_keeper(configuration.place):
        if not Keeper(configuration, say).end_leftovers():
            raise NotRunning("The system is not running.")
    say("Stopped.")


def stop_keeper(place: Place, say: Callable[[str], None]) -> bool:
    """Stops the ``up`` that keeps this system running. Returns False if there is none. Raises OpsError if it does not
    stop.
    """
    keeper = place.keeper.living()
    if keeper is None or keeper.pid == os.getpid():
        return False
    keeper.send(signal.SIGTERM)
    if not keeper.wait(_STOP_S):
        raise OpsError(f"The system has not stopped within {_STOP_S:.0f} s; process {keeper.pid} still runs.")
    say("Stopped.")
    return True
