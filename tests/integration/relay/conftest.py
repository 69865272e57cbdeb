"""Provides a database with an outbox, and a connection of the upstream to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ops.servers import PostgreSQLServer
from tests.support.outbox import empty_outbox


@pytest.fixture
def outbox_url(postgresql: PostgreSQLServer) -> Iterator[str]:
    with empty_outbox(postgresql) as url:
        yield url


@pytest.fixture
def upstream(outbox_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Yields a connection that begins a transaction with its first statement, as drivers do."""
    with psycopg.connect(outbox_url) as connection:
        yield connection
