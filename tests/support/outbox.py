"""Makes databases with an outbox for tests, and reads what the relay has published from the queues."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pika
import psycopg

from ops.place import ROOT
from ops.servers import PostgreSQLServer
from shared.message.channels import CHANNELS, lanes_of

OUTBOX_SQL = ROOT / "ops" / "sql" / "outbox.sql"
_numbers = itertools.count()


@contextmanager
def empty_outbox(server: PostgreSQLServer) -> Iterator[str]:
    """Yields the URL of a database with an empty outbox."""
    with empty_database(server) as url:
        install(url)
        yield url


@contextmanager
def empty_database(server: PostgreSQLServer) -> Iterator[str]:
    """Yields the URL of a database without any table."""
    name = f"outbox_{next(_numbers)}"
    _execute(server.url, f"CREATE DATABASE {name}")
    yield server.database_url(name)
    _execute(server.url, f"DROP DATABASE {name} WITH (FORCE)")


def install(url: str) -> None:
    """Installs the outbox as an upstream does."""
    _execute(url, OUTBOX_SQL.read_text())


def insert(connection: psycopg.Connection[Any], count: int, prefix: str) -> list[str]:
    """Inserts valid rows in one statement of the connection's transaction. Returns their request_ids."""
    ids = [f"{prefix}-{number}" for number in range(count)]
    connection.execute(
        "INSERT INTO notification_outbox (request_id, user_id, title, message) "
        "SELECT id, 'u1', 'New message', 'You have a new message' FROM unnest(%s::text[]) AS id",
        (ids,),
    )
    return ids


def queued(vhost_url: str) -> list[dict[str, Any]]:
    """Returns the envelopes in all lanes, and leaves them there."""
    return [orjson.loads(body) for body, _ in _peek(vhost_url)]


def headers(vhost_url: str) -> list[dict[str, Any]]:
    """Returns the headers of the messages in all lanes, and leaves them there."""
    return [found for _, found in _peek(vhost_url)]


def _peek(vhost_url: str) -> list[tuple[bytes, dict[str, Any]]]:
    found: list[tuple[bytes, dict[str, Any]]] = []
    # What is not acked returns to its queue when the connection is closed.
    connection = pika.BlockingConnection(pika.URLParameters(vhost_url))
    channel = connection.channel()
    for lane in (lane for name in CHANNELS for lane in lanes_of(name)):
        while True:
            method, properties, body = channel.basic_get(lane.queue)
            if method is None or properties is None or body is None:
                break
            found.append((body, dict(properties.headers or {})))
    connection.close()
    return found


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
