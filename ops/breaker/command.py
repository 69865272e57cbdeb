"""Implements ``./notify breaker``, which shows the breakers and lets an operator force them."""

import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
import redis
import structlog

from ops.breaker.survey import Name, Survey, survey
from ops.breaker.view import print_breakers, print_json
from ops.errors import BadSetting, OpsError
from ops.failed.action_log import log_actions
from ops.settings import load
from ops.system.addresses import shown_addresses
from ops.system.local_servers import product_settings
from ops.terminal import Terminal
from shared.errors import BadSettings, RedisUnavailable
from shared.health.registry import HEARTBEATS_MISSED, Forced, force_breaker
from shared.redis.client import sync_client
from shared.settings.settings import Settings

_POLL_S = 0.1
_NAME = click.argument("name", metavar="CHANNEL/PROVIDER")


@click.group()
def breaker() -> None:
    """Show the breakers in front of the providers, or force one.

    Each worker process opens and closes its own breakers. An operator can force one open or closed in all workers,
    until "auto" ends this.
    """


@breaker.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_breakers(as_json: bool) -> None:
    """Show the state of each breaker in each living worker."""
    with _redis() as (client, settings):
        found = survey(client, settings.worker.heartbeat_s)
        names = found.names(settings)
        print_json(found, names) if as_json else print_breakers(found, names)


@breaker.command("open")
@_NAME
def force_open(name: str) -> None:
    """Force the breaker open: no call reaches the provider.

    The channel's next provider gets the calls instead; if there is none, the channel pauses.
    """
    _force(name, "open")


@breaker.command("close")
@_NAME
def force_closed(name: str) -> None:
    """Force the breaker closed: every call reaches the provider.

    The provider's answers do not open it.
    """
    _force(name, "closed")


@breaker.command("auto")
@_NAME
def let_decide(name: str) -> None:
    """Let the breaker decide for itself again.

    A breaker that was forced open starts with probes.
    """
    _force(name, None)


def _force(text: str, how: Forced | None) -> None:
    """Forces the breaker, or ends the force if ``how`` is None, and waits until every living worker obeys.

    Raises OpsError if one does not obey in time.
    """
    with _redis() as (client, settings):
        name = _known(text, survey(client, settings.worker.heartbeat_s), settings)
        force_breaker(client, *name, how)
        structlog.get_logger().info(
            "breaker_forced", channel=name[0], provider=name[1], to=how or "auto", operator=getpass.getuser()
        )
        with Terminal(stderr=True).status("Waiting for the workers' next heartbeat ..."):
            found = _obeyed(client, settings.worker.heartbeat_s, name)
    said = f"{text} is forced {how}" if how else f"{text} decides for itself"
    late = found.disobedient(name)
    if late:
        raise OpsError(f"{said}, but these workers do not obey yet: {', '.join(late)}. Check: ./notify breaker list")
    workers = len(found.workers[name[0]])
    who = (
        f"{workers} worker{'s' * (workers != 1)} obey{'s' * (workers == 1)}"
        if workers
        else "no worker is running; workers that start later will obey"
    )
    Terminal().print(f"{said}: {who}.")


def _known(text: str, found: Survey, settings: Settings) -> Name:
    """Splits CHANNEL/PROVIDER. Raises BadSetting, which names the existing breakers, if there is no such breaker."""
    names = found.names(settings)
    channel, _, provider = text.partition("/")
    if (channel, provider) not in names:
        raise BadSetting(f"There is no breaker {text}. Choose one of {', '.join('/'.join(name) for name in names)}.")
    return channel, provider


def _obeyed(client: redis.Redis, heartbeat_s: float, name: Name) -> Survey:
    """Polls until every living worker obeys, or until one heartbeat after the time when the others count as dead.

    Returns the last survey.
    """
    deadline = time.monotonic() + (HEARTBEATS_MISSED + 1) * heartbeat_s
    while (found := survey(client, heartbeat_s)).disobedient(name) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return found


@contextmanager
def _redis() -> Iterator[tuple[redis.Redis, Settings]]:
    """Yields a client of the running system's Redis, and the settings. Raises OpsError."""
    configuration = load()
    settings = product_settings(configuration)
    log_actions(configuration.place)
    try:
        with sync_client(settings.redis.url) as client:
            yield client, settings
    except RedisUnavailable as exc:
        address = shown_addresses(settings.redis.url)
        raise OpsError(f"Redis at {address} is unavailable: {exc}\nCheck that it runs: ./notify status") from exc
    except BadSettings as exc:
        raise BadSetting("\n".join(f"{variable}: {why}" for variable, why in exc.problems)) from exc
