"""``./notify down``: stop everything that ``up`` started."""

import os
import signal

import click

from ops.errors import NotRunning, OpsError
from ops.keeper import Keeper, sole_keeper
from ops.settings import load

# Workers have 35 s, supervisord ends them side by side, then RabbitMQ needs up to 30.
_STOP_S = 120.0


@click.command()
def down() -> None:
    """Stop the system; also what a killed one left running."""
    configuration = load()
    keeper = configuration.place.keeper.living()
    if keeper is not None and keeper.pid != os.getpid():
        keeper.send(signal.SIGTERM)
        if not keeper.wait(_STOP_S):
            raise OpsError(f"It has not stopped within {_STOP_S:.0f} s; process {keeper.pid} still runs.")
        click.echo("Stopped.")
        return
    with sole_keeper(configuration.place):
        if not Keeper(configuration, click.echo).end_leftovers():
            raise NotRunning("Not running.")
    click.echo("Stopped.")
