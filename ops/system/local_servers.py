"""The RabbitMQ and the Redis of a running system: given by the user, or private ones under ``.local``."""

import os
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from pydantic import SecretStr

from ops.errors import OpsError, ServerFailed
from ops.servers import RabbitMQPorts, RabbitMQServer, RedisServer
from ops.settings import Configuration
from shared.settings.settings import Settings
from shared.settings.types import Group

_RETRY_S = 5.0
_DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}


def private_rabbitmq(configuration: Configuration) -> RabbitMQServer:
    """The node of this place, started or not."""
    local, place = configuration.local, configuration.place
    ports = RabbitMQPorts(
        amqp=local.local_rabbitmq_port,
        management=local.local_rabbitmq_management_port,
        distribution=local.local_rabbitmq_dist_port,
        epmd=local.local_epmd_port,
    )
    return RabbitMQServer(place.rabbitmq, ports, log_file=place.log_file("rabbitmq"))


def private_redis(configuration: Configuration) -> RedisServer:
    """The Redis of this place, started or not."""
    place = configuration.place
    return RedisServer(place.redis, port=configuration.local.local_redis_port, log_file=place.log_file("redis"))


def product_settings(configuration: Configuration) -> Settings:
    """The settings as the product's processes have them: with the addresses of our own servers."""
    product = configuration.product
    ours: dict[str, Group] = {}
    if configuration.private_rabbitmq:
        url = SecretStr(private_rabbitmq(configuration).url)
        ours["broker"] = product.broker.model_copy(update={"given_url": url})
    if configuration.private_redis:
        url = SecretStr(private_redis(configuration).url)
        ours["redis"] = product.redis.model_copy(update={"given_url": url})
    return product.model_copy(update=ours)


class LocalServers:
    """Starts, keeps and stops the private servers; never touches one that was given."""

    def __init__(self, configuration: Configuration, say: Callable[[str], None]) -> None:
        self._configuration = configuration
        self._say = say
        self._retry_at: dict[str, float] = {}
        # Both are known even when given: an earlier run may have had private ones, and left them.
        self._all: dict[str, RabbitMQServer | RedisServer] = {
            "Redis": private_redis(configuration),
            "RabbitMQ": private_rabbitmq(configuration),
        }
        used = {"Redis": configuration.private_redis, "RabbitMQ": configuration.private_rabbitmq}
        self._ours = {name: server for name, server in self._all.items() if used[name]}

    def check_given(self) -> None:
        """Raise OpsError for a given server that does not answer."""
        for name, url, setting in given_servers(self._configuration):
            check_address(name, url, setting)

    def start(self) -> None:
        """Return once our own answer. Raises ServerFailed."""
        for name, _, setting in given_servers(self._configuration):
            self._say(f"{name}: the one given by {setting}")
        for name, server in self._ours.items():
            began = time.monotonic()
            server.start()
            self._say(f"{name}: private, {_without_secret(server.url)}, ready in {time.monotonic() - began:.1f} s")

    def revive(self) -> None:
        """Start again what has ended; after a failure not before 5 s have passed."""
        for name, server in self._ours.items():
            if server.running() or time.monotonic() < self._retry_at.get(name, 0):
                continue
            self._say(f"{name} has ended; starting it again")
            try:
                server.start()
            except ServerFailed as exc:
                self._say(str(exc))
                self._retry_at[name] = time.monotonic() + _RETRY_S

    def stop(self) -> None:
        """End every private server of this place, also one that an earlier run left; gone when this returns."""
        for server in self._all.values():
            server.stop()

    def left_running(self) -> list[str]:
        """Private servers of this place that run now."""
        return [name for name, server in self._all.items() if server.running()]

    def environment(self) -> dict[str, str]:
        """The user's environment, with the addresses of our own servers."""
        environment = dict(os.environ)
        for name, server in self._ours.items():
            environment[f"{name.upper()}_URL"] = server.url
        return environment


def given_servers(configuration: Configuration) -> list[tuple[str, str, str]]:
    """(name, URL, the setting that gave it) for each server that we were given."""
    product = configuration.product
    given = []
    if not configuration.private_redis:
        given.append(("Redis", product.redis.url, "REDIS_URL" if product.redis.given_url else "REDIS_HOST"))
    if not configuration.private_rabbitmq:
        given.append(("RabbitMQ", product.broker.url, "RABBITMQ_URL" if product.broker.given_url else "RABBITMQ_HOST"))
    return given


def check_address(name: str, url: str, setting: str, timeout_s: float = 5.0) -> None:
    """Raise OpsError, without the password, if nothing listens there."""
    host, port = address_of(url)
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError as exc:
        raise OpsError(f"{name} at {host}:{port} ({setting}) does not answer: {exc}") from exc


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _without_secret(url: str) -> str:
    host, port = address_of(url)
    return f"{host}:{port}"
