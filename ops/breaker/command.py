"""``./notify breaker``: what the breakers say, and the operator's word that overrules them."""

import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
import redis
import structlog
from rich.console import Console

from ops.breaker.survey import Name, Survey, survey
from ops.breaker.view import print_breakers, print_json
from ops.errors import BadSetting, OpsError
from ops.failed.action_log import log_actions
from ops.settings import load
from ops.system.local_servers import address_of, product_settings
from shared.errors import BadSettings, RedisUnavailable
from shared.health.registry import HEARTBEATS_MISSED, Forced, force_breaker
from shared.redis.client import sync_client
from shared.settings.settings import Settings

_POLL_S = 0.1
_NAME = click.argument("name", metavar="CHANNEL/PROVIDER")


@click.group()
def breaker() -> None:
    """The breakers in front of the providers.

    Each worker process opens and closes its own. An operator can force one, in all workers, until "auto" ends it.
    """


@breaker.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_breakers(as_json: bool) -> None:
    """Show each breaker, as each living worker has it."""
    with _redis() as (client, settings):
        found = survey(client, settings.worker.heartbeat_s)
        names = found.names(settings)
        print_json(found, names) if as_json else print_breakers(found, names)


@breaker.command("open")
@_NAME
def force_open(name: str) -> None:
    """Let nothing through.

    The next provider of the channel gets what it would have got; without one the channel pauses.
    """
    _force(name, "open")


@breaker.command("close")
@_NAME
def force_closed(name: str) -> None:
    """Let everything through.

    Whatever the provider answers.
    """
    _force(name, "closed")


@breaker.command("auto")
@_NAME
def let_decide(name: str) -> None:
    """Let the breaker decide again.

    One that was forced open begins with probes.
    """
    _force(name, None)


def _force(text: str, how: Forced | None) -> None:
    """Say it, and wait until every living worker does it. Raises OpsError."""
    with _redis() as (client, settings):
        name = _known(text, survey(client, settings.worker.heartbeat_s), settings)
        force_breaker(client, *name, how)
        structlog.get_logger().info(
            "breaker_forced", channel=name[0], provider=name[1], to=how or "auto", operator=getpass.getuser()
        )
        with Console(stderr=True).status("Waiting for the workers' next heartbeat ..."):
            found = _obeyed(client, settings.worker.heartbeat_s, name)
    said = f"{text} is forced {how}" if how else f"{text} decides for itself"
    late = found.disobedient(name)
    if late:
        raise OpsError(f"{said}, but it is not yet so in {', '.join(late)}: ./notify breaker list")
    workers = len(found.workers[name[0]])
    who = (
        f"{workers} worker{'s' * (workers != 1)} obey{'s' * (workers == 1)}"
        if workers
        else "no worker lives; those that start will obey"
    )
    click.echo(f"{said}: {who}.")


def _known(text: str, found: Survey, settings: Settings) -> Name:
    """Raises BadSetting naming those that there are."""
    names = found.names(settings)
    channel, _, provider = text.partition("/")
    if (channel, provider) not in names:
        raise BadSetting(f"No breaker {text}; there are {', '.join('/'.join(name) for name in names)}.")
    return channel, provider


def _obeyed(client: redis.Redis, heartbeat_s: float, name: Name) -> Survey:
    """Look until every living worker obeys, or until those that do not must be taken for dead, and one beat more."""
    deadline = time.monotonic() + (HEARTBEATS_MISSED + 1) * heartbeat_s
    while (found := survey(client, heartbeat_s)).disobedient(name) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return found


@contextmanager
def _redis() -> Iterator[tuple[redis.Redis, Settings]]:
    """The Redis of the running system, and its settings. Raises OpsError."""
    configuration = load()
    settings = product_settings(configuration)
    log_actions(configuration.place)
    try:
        with sync_client(settings.redis.url) as client:
            yield client, settings
    except RedisUnavailable as exc:
        host, port = address_of(settings.redis.url)
        raise OpsError(f"Redis at {host}:{port} does not serve: {exc}\nIs it running? ./notify status") from exc
    except BadSettings as exc:
        raise BadSetting("\n".join(f"{variable}: {why}" for variable, why in exc.problems)) from exc
