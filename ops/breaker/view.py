"""Prints breakers on a terminal or as JSON."""

from rich.table import Table
from rich.text import Text

from ops.breaker.survey import Name, Survey
from ops.terminal import Terminal

_COLOURS = {"closed": "green", "half_open": "yellow", "open": "red"}


def print_breakers(found: Survey, names: list[Name]) -> None:
    """Prints one row per breaker and worker."""
    table = Table("breaker", "state", "worker", "forced", box=None)
    for name in names:
        for row in _rows(found, name):
            table.add_row(f"{name[0]}/{name[1]}", *row)
    Terminal().print(table, soft_wrap=False)


def print_json(found: Survey, names: list[Name]) -> None:
    breakers = [
        {
            "channel": channel,
            "provider": provider,
            "forced": found.forced.get((channel, provider)),
            "workers": {worker.instance: worker.breakers.get(provider) for worker in found.workers[channel]},
        }
        for channel, provider in names
    ]
    Terminal().write_json({"breakers": breakers})


def _rows(found: Survey, name: Name) -> list[tuple[Text, Text, str]]:
    """Returns for each worker the breaker's state, the worker's instance and the operator's command."""
    channel, provider = name
    forced = found.forced.get(name)
    if not found.workers[channel]:
        return [(Text("-"), Text("no living worker"), forced or "no")]
    late = found.disobedient(name)
    return [
        (
            Text(state := worker.breakers.get(provider, "unknown"), style=_COLOURS.get(state, "")),
            Text(worker.instance),
            f"{forced or 'no'}, not yet obeyed" if worker.instance in late else forced or "no",
        )
        for worker in found.workers[channel]
    ]
