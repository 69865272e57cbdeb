"""``./notify down``: stop everything that ``up`` started."""

import os
import signal
from collections.abc import Callable

import click

from ops.errors import NotRunning, OpsError
from ops.place import Place
from ops.settings import Configuration, find_place, load
from ops.system.keeper import Keeper, sole_keeper

# Workers have 35 s, supervisord ends them side by side, then RabbitMQ needs up to 30.
_STOP_S = 120.0


@click.command()
def down() -> None:
    """Stop the system; also what a killed one left running."""
    # A setting that went bad since must not keep anybody from stopping what runs.
    if not stop_keeper(find_place(), click.echo):
        stop(load(), click.echo)


def stop(configuration: Configuration, say: Callable[[str], None]) -> None:
    """Return once nothing of it runs any more. Raises OpsError; NotRunning if nothing did."""
    if stop_keeper(configuration.place, say):
        return
    with sole_keeper(configuration.place):
        if not Keeper(configuration, say).end_leftovers():
            raise NotRunning("Not running.")
    say("Stopped.")


def stop_keeper(place: Place, say: Callable[[str], None]) -> bool:
    """Stop a living ``up`` of this place; False if there is none. Raises OpsError if it does not stop."""
    keeper = place.keeper.living()
    if keeper is None or keeper.pid == os.getpid():
        return False
    keeper.send(signal.SIGTERM)
    if not keeper.wait(_STOP_S):
        raise OpsError(f"It has not stopped within {_STOP_S:.0f} s; process {keeper.pid} still runs.")
    say("Stopped.")
    return True
