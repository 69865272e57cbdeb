"""Runs these tests on uvloop, as the process does, and provides a node."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tests.support.realtime.stage import Stage, serving
from tests.support.stores import Databases


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def stage(databases: Databases, redis_url: str) -> AsyncIterator[Stage]:
    """A node on SQLite."""
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url) as running:
            yield running
