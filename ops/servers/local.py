"""Provides the system's RabbitMQ and Redis: servers given by the user, or private ones under ``.local``."""

import os
import time
from collections.abc import Callable

from pydantic import SecretStr

from ops.errors import ServerFailed
from ops.servers import RabbitMQPorts, RabbitMQServer, RedisServer
from ops.servers.addresses import check_address, shown_addresses
from ops.settings import Configuration
from shared.settings.settings import Settings
from shared.settings.types import Group

#: The name of the file, beside a private server's data, that keeps its password.
PASSWORD = "password"
_RETRY_S = 5.0


def private_rabbitmq(configuration: Configuration) -> RabbitMQServer:
    """Returns the private node of this place, started or not."""
    local, place = configuration.local, configuration.place
    ports = RabbitMQPorts(
        amqp=local.local_rabbitmq_port,
        management=local.local_rabbitmq_management_port,
        distribution=local.local_rabbitmq_dist_port,
        epmd=local.local_epmd_port,
    )
    return RabbitMQServer(
        place.rabbitmq, ports, log_file=place.log_file("rabbitmq"), password_file=place.rabbitmq / PASSWORD
    )


def private_redis(configuration: Configuration) -> RedisServer:
    """Returns the private Redis of this place, started or not."""
    place = configuration.place
    return RedisServer(
        place.redis,
        port=configuration.local.local_redis_port,
        log_file=place.log_file("redis"),
        password_file=place.redis / PASSWORD,
    )


def product_settings(configuration: Configuration) -> Settings:
    """Returns the settings as the product's processes see them: with the addresses of the private servers."""
    product = configuration.product
    changed: dict[str, Group] = {}
    if configuration.private_rabbitmq:
        url = SecretStr(private_rabbitmq(configuration).url)
        changed["broker"] = product.broker.model_copy(update={"given_url": url})
    if configuration.private_redis:
        url = SecretStr(private_redis(configuration).url)
        changed["redis"] = product.redis.model_copy(update={"given_url": url})
    if configuration.embedded_database:
        changed["database"] = product.database.model_copy(update={"given_url": _embedded_url(configuration)})
    return product.model_copy(update=changed)


def _embedded_url(configuration: Configuration) -> SecretStr:
    return SecretStr(f"sqlite:///{configuration.place.database}")


class LocalServers:
    """Starts, restarts and stops the private servers; never touches a server that the user provides."""

    def __init__(self, configuration: Configuration, say: Callable[[str], None]) -> None:
        self._configuration = configuration
        self._say = say
        self._retry_at: dict[str, float] = {}
        # Both are listed even if the user provides servers: an earlier run may have left private ones running.
        self._all: dict[str, RabbitMQServer | RedisServer] = {
            "Redis": private_redis(configuration),
            "RabbitMQ": private_rabbitmq(configuration),
        }
        used = {"Redis": configuration.private_redis, "RabbitMQ": configuration.private_rabbitmq}
        self._used = {name: server for name, server in self._all.items() if used[name]}

    def check_given(self) -> None:
        """Raises OpsError if a given server does not answer at any of its addresses."""
        for name, url, setting in given_servers(self._configuration):
            check_address(name, url, setting)

    def start(self) -> None:
        """Starts the private servers, and returns when they answer. Raises ServerFailed."""
        for name, _, setting in given_servers(self._configuration):
            self._say(f"{name}: uses the server given by {setting}")
        for name, server in self._used.items():
            began = time.monotonic()
            server.start()
            self._say(f"{name}: private, {shown_addresses(server.url)}, ready in {time.monotonic() - began:.1f} s")

    def revive(self) -> None:
        """Restarts private servers that have ended; after a failure it waits 5 s before the next try."""
        for name, server in self._used.items():
            if server.running() or time.monotonic() < self._retry_at.get(name, 0):
                continue
            self._say(f"{name} has ended; starting it again")
            try:
                server.start()
            except ServerFailed as exc:
                self._say(str(exc))
                self._retry_at[name] = time.monotonic() + _RETRY_S

    def stop(self) -> None:
        """Ends every private server of this place, also one from an earlier run. All have ended when this returns."""
        for server in self._all.values():
            server.stop()

    def left_running(self) -> list[str]:
        """Returns the names of the private servers of this place that run now."""
        return [name for name, server in self._all.items() if server.running()]

    def environment(self) -> dict[str, str]:
        """Returns the user's environment, with the addresses of the private servers."""
        environment = dict(os.environ)
        for name, server in self._used.items():
            environment[f"{name.upper()}_URL"] = server.url
        environment["DATABASE_URL"] = product_settings(self._configuration).database.url
        return environment


def given_servers(configuration: Configuration) -> list[tuple[str, str, str]]:
    """Returns (name, URL, name of the setting) for each server that the user provides."""
    product = configuration.product
    given = []
    if not configuration.private_redis:
        given.append(("Redis", product.redis.url, "REDIS_URL" if product.redis.given_url else "REDIS_HOST"))
    if not configuration.private_rabbitmq:
        given.append(("RabbitMQ", product.broker.url, "RABBITMQ_URL" if product.broker.given_url else "RABBITMQ_HOST"))
    if product.database.file is None:
        given.append(("PostgreSQL", product.database.url, "DATABASE_URL"))
    return given
