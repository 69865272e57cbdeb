"""``./notify down``: stop everything that ``up`` started."""

import os
import signal
from collections.abc import Callable

import click

from ops.errors import NotRunning, OpsError
from ops.keeper import Keeper, sole_keeper
from ops.settings import Configuration, load

# Workers have 35 s, supervisord ends them side by side, then RabbitMQ needs up to 30.
_STOP_S = 120.0


@click.command()
def down() -> None:
    """Stop the system; also what a killed one left running."""
    stop(load(), click.echo)


def stop(configuration: Configuration, say: Callable[[str], None]) -> None:
    """Return once nothing of it runs any more. Raises OpsError; NotRunning if nothing did."""
    keeper = configuration.place.keeper.living()
    if keeper is not None and keeper.pid != os.getpid():
        keeper.send(signal.SIGTERM)
        if not keeper.wait(_STOP_S):
            raise OpsError(f"It has not stopped within {_STOP_S:.0f} s; process {keeper.pid} still runs.")
        say("Stopped.")
        return
    with sole_keeper(configuration.place):
        if not Keeper(configuration, say).end_leftovers():
            raise NotRunning("Not running.")
    say("Stopped.")
