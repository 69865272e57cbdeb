"""Provides the fixtures that every test may use: real, private servers, started when the first test needs them.

A server that cannot start is an error, never a skip. Each test gets its own virtual host and an empty Redis.
"""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
import redis

from ops.servers import PostgreSQLServer, RabbitMQServer, RedisServer
from tests.support.run.examples import register_profiles
from tests.support.run.order import longest_first
from tests.support.run.servers import (
    end_leftovers,
    new_run_directory,
    private_postgresql,
    private_rabbitmq,
    private_redis,
)
from tests.support.stores import Databases

register_profiles()


def pytest_configure() -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # By default SIGTERM ends Python at once, without the fixtures that stop the servers.
    signal.signal(signal.SIGTERM, stop)
    # The processes that the tests start repeatedly then compile their modules only once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Settings of the person who runs the tests must not reach the product under test.
    for name in list(os.environ):
        if name.startswith(("RABBITMQ_", "REDIS_", "CACHE_REDIS_", "DATABASE_", "NOTIFY_")) and not name.startswith(
            "NOTIFY_TEST_"
        ):
            del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        longest_first(items)


@pytest.fixture(scope="session")
def run_directory() -> Iterator[Path]:
    """Yields the directory for the data and logs of this run's servers; it is kept if one of them failed to start."""
    directory = new_run_directory()
    yield directory
    end_leftovers(directory)


@pytest.fixture(scope="session")
def rabbitmq(run_directory: Path) -> Iterator[RabbitMQServer]:
    """Yields the run's broker. A test that pauses it resumes it; a test that kills a broker starts its own."""
    with private_rabbitmq(run_directory / "rabbitmq") as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(run_directory: Path) -> Iterator[RedisServer]:
    """Yields the run's Redis. A test that kills or pauses it restores it."""
    with private_redis(run_directory / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def postgresql(run_directory: Path) -> Iterator[PostgreSQLServer]:
    """Yields the run's PostgreSQL. A test that kills or pauses it restores it."""
    with private_postgresql(run_directory / "postgresql") as server:
        yield server


@pytest.fixture(scope="session")
def databases(run_directory: Path, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Yields what makes empty databases of both kinds; PostgreSQL starts when the first one of it is made."""
    with Databases(run_directory / "databases", lambda: request.getfixturevalue("postgresql")) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """Yields the address of an empty database with tables, for this test alone: once SQLite, once PostgreSQL."""
    with databases.empty(request.param) as url:
        yield url


@pytest.fixture
def vhost(rabbitmq: RabbitMQServer) -> Iterator[str]:
    """Yields an empty virtual host for this test alone."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    rabbitmq.management.create_vhost(name)
    yield name
    rabbitmq.management.delete_vhost(name)


@pytest.fixture
def vhost_url(rabbitmq: RabbitMQServer, vhost: str) -> str:
    """Returns the AMQP address of this test's virtual host."""
    return rabbitmq.vhost_url(vhost)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Returns the address of an empty Redis."""
    with redis.Redis(port=redis_server.port) as client:
        client.flushall()
    return redis_server.url
