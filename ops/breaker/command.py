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
from ops.servers.addresses import shown_addresses
from ops.servers.local import product_settings
from ops.settings import load
from ops.terminal import Terminal
from shared.errors import BadSettings, RedisUnavailable
from shared.health.registry import HEARTBEATS_MISSED, SOURCES, Forced, force_breaker
from shared.redis.client import sync_client
from shared.settings.settings import Settings

_POLL_S = 0.1
_NAME = click.argument("name", metavar="CHANNEL/PROVIDER|SOURCE")


@click.group()
def breaker() -> None:
    """Show the breakers in front of the providers and of the user and template services, or force one.

    Each worker process opens and closes its own breakers. An operator can force one open or closed in all workers,
    until "auto" ends this. Those of the services are CHANNEL/users and CHANNEL/templates; users and templates alone
    mean all channels.
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

    The channel's next provider gets the calls instead; if there is none, the channel pauses. It also pauses as soon as
    a message needs a user or a template from a service whose breaker is forced open.
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
        names = _known(text, survey(client, settings.worker.heartbeat_s), settings)
        for channel, provider in names:
            force_breaker(client, channel, provider, how)
            structlog.get_logger().info(
                "breaker_forced", channel=channel, provider=provider, to=how or "auto", operator=getpass.getuser()
            )
        with Terminal(stderr=True).status("Waiting for the workers' next heartbeat ..."):
            found = _obeyed(client, settings.worker.heartbeat_s, names)
    said = f"{text} is forced {how}" if how else f"{text} decides for itself"
    late = _disobedient(found, names)
    if late:
        raise OpsError(f"{said}, but these workers do not obey yet: {', '.join(late)}. Check: ./notify breaker list")
    workers = sum(len(found.workers[channel]) for channel, _ in names)
    who = (
        f"{workers} worker{'s' * (workers != 1)} obey{'s' * (workers == 1)}"
        if workers
        else "no worker is running; workers that start later will obey"
    )
    Terminal().print(f"{said}: {who}.")


def _known(text: str, found: Survey, settings: Settings) -> list[Name]:
    """Splits CHANNEL/PROVIDER, or returns a source's name with each channel.

    Raises BadSetting, which names the existing breakers, if there is no such breaker.
    """
    names = found.names(settings)
    if text in SOURCES:
        return [name for name in names if name[1] == text]
    channel, _, provider = text.partition("/")
    if (channel, provider) not in names:
        choices = ", ".join(["/".join(name) for name in names] + list(SOURCES))
        raise BadSetting(f"There is no breaker {text}. Choose one of {choices}.")
    return [(channel, provider)]


def _disobedient(found: Survey, names: list[Name]) -> list[str]:
    return [worker for name in names for worker in found.disobedient(name)]


def _obeyed(client: redis.Redis, heartbeat_s: float, names: list[Name]) -> Survey:
    """Polls until every living worker obeys, or until one heartbeat after the time when the others count as dead.

    Returns the last survey.
    """
    deadline = time.monotonic() + (HEARTBEATS_MISSED + 1) * heartbeat_s
    while _disobedient(found := survey(client, heartbeat_s), names) and time.monotonic() < deadline:
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
