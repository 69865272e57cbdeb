"""Implements ``./notify logs``, which shows the logs of the processes."""

import time

import click

from ops.errors import BadSetting, NotRunning
from ops.place import Place
from ops.settings import load
from ops.system.log_view import LogFile, last_lines, render
from ops.terminal import Terminal, printable_json

_POLL_S = 0.2
# Only the product's own processes are shown by default. The logs of servers and supervisord are shown by name.
_NOT_BY_DEFAULT = ("rabbitmq", "redis", "supervisord", "supervisord-output", "up")


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Also show new lines as they are written.")
@click.option(
    "-n", "--lines", default=50, show_default=True, type=click.IntRange(min=0), help="How many lines of each log."
)
def logs(name: str | None, follow: bool, lines: int) -> None:
    """Show the log of the process NAME, or of all. The exit code is 3 if there are no logs."""
    place = load().place
    files = {chosen: place.log_file(chosen) for chosen in _chosen(place, name)}
    console = Terminal()
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
        raise NotRunning(f"There are no logs in {place.log}. Start the system: ./notify up")
    if name is None:
        return [candidate for candidate in names if candidate not in _NOT_BY_DEFAULT]
    if name not in names:
        raise BadSetting(f"There is no log of {name!r}. Choose one of {', '.join(names)}.")
    return [name]


def _show(console: Terminal, name: str, line: str) -> None:
    """Renders the line on a terminal; into a pipe it writes the line itself, a JSON line as the same JSON."""
    if console.is_terminal:
        console.print(render(name, line))
    else:
        console.print(printable_json(line) if line.startswith("{") else line)
