"""Implements ``./notify status``, which shows every process and server."""

import click
from rich.table import Table
from rich.text import Text

from ops.errors import NotRunning
from ops.servers import RabbitMQServer, RedisServer
from ops.servers.addresses import shown_addresses, shown_database
from ops.servers.local import private_rabbitmq, private_redis, product_settings
from ops.settings import Configuration, load
from ops.system.fleet import Program, programs
from ops.system.health import health_of, listens
from ops.system.supervision import ProcessState, Supervisor
from ops.terminal import Terminal

_COLOURS = {"running": "green", "healthy": "green", "answers": "green", "given": "cyan", "embedded": "cyan"}


@click.command()
def status() -> None:
    """Show every process and server. The exit code is 3 if the system is not running."""
    configuration = load()
    kept = configuration.place.keeper.living() is not None
    states = Supervisor(configuration.place).states()
    if not kept and not states:
        raise NotRunning("The system is not running. Start it: ./notify up")
    table = Table("process", "pid", "state", "port", "health", box=None)
    for program in programs(configuration):
        table.add_row(*_process_row(program, states.get(program.name)))
    for row in _server_rows(configuration):
        table.add_row(*row)
    table.add_row(*_database_row(configuration))
    terminal = Terminal()
    terminal.print(table, soft_wrap=False)
    if not kept:
        terminal.print("No ./notify up keeps this system running; ./notify up takes it over without stopping it.")


def _process_row(program: Program, state: ProcessState | None) -> tuple[str | Text, ...]:
    ports = ", ".join(str(port.number) for port in program.ports)
    if state is None:
        return program.name, "", _coloured("unknown"), ports, ""
    pid = str(state.pid) if state.pid else ""
    return program.name, pid, _coloured(state.state.lower()), ports, _coloured(_health(program))


def _health(program: Program) -> str:
    answer = health_of(program)
    if answer is not None and "status" in answer:
        return str(answer["status"])
    return "listens" if listens(program) else "no answer"


def _server_rows(configuration: Configuration) -> list[tuple[str | Text, ...]]:
    product = configuration.product
    servers: list[tuple[str, bool, str, RabbitMQServer | RedisServer]] = [
        ("rabbitmq", configuration.private_rabbitmq, product.broker.url, private_rabbitmq(configuration)),
        ("redis", configuration.private_redis, product.redis.url, private_redis(configuration)),
    ]
    rows: list[tuple[str | Text, ...]] = []
    for name, private, given_url, server in servers:
        if not private:
            rows.append((name, "", _coloured("given"), "", shown_addresses(given_url)))
            continue
        identity = server.identity()
        state = _coloured("running" if identity else "ended")
        answers = _coloured("answers" if server.answers() else "no answer")
        rows.append(
            (
                name,
                str(identity.pid) if identity else "",
                state,
                shown_addresses(server.url).rpartition(":")[2],
                answers,
            )
        )
    return rows


def _database_row(configuration: Configuration) -> tuple[str | Text, ...]:
    """Returns where the inboxes are; ``./notify store status`` says more."""
    kind = "embedded" if configuration.embedded_database else "given"
    return "database", "", _coloured(kind), "", shown_database(product_settings(configuration).database.url)


def _coloured(word: str) -> Text:
    return Text(word, style=_COLOURS.get(word, "yellow"))
