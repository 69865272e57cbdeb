"""``./notify logs``: what the processes wrote."""

import time

import click
from rich.console import Console

from ops.errors import BadSetting, NotRunning
from ops.place import Place
from ops.settings import load
from ops.system.log_view import LogFile, last_lines, render

_POLL_S = 0.2
# The processes of the product; servers and supervisord are shown when they are named.
_NOT_BY_DEFAULT = ("rabbitmq", "redis", "supervisord", "supervisord-output", "up")


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now.")
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(min=0), help="Lines of each log.")
def logs(name: str | None, follow: bool, lines: int) -> None:
    """Show the log of process NAME, or of all; exit 3 if there is none."""
    place = load().place
    files = {chosen: place.log_file(chosen) for chosen in _chosen(place, name)}
    console = Console(highlight=False, soft_wrap=True)
    followed = {chosen: LogFile(path, from_end=True) for chosen, path in files.items()}
    for chosen, path in files.items():
        for line in last_lines(path, lines):
            _show(console, chosen, line)
    while follow:
        for chosen, log in followed.items():
            for line in log.new_lines():
                _show(console, chosen, line)
        time.sleep(_POLL_S)


def _chosen(place: Place, name: str | None) -> list[str]:
    names = place.log_names()
    if not names:
        raise NotRunning(f"There are no logs in {place.log}: ./notify up")
    if name is None:
        return [candidate for candidate in names if candidate not in _NOT_BY_DEFAULT]
    if name not in names:
        raise BadSetting(f"No log of {name!r}. There are: {', '.join(names)}")
    return [name]


def _show(console: Console, name: str, line: str) -> None:
    """For a person on a terminal; as written into a pipe."""
    if console.is_terminal:
        console.print(render(name, line))
    else:
        click.echo(line)
