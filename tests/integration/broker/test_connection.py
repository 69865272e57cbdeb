"""Checks when a connection to a real broker declares the topology, and that a later declaration blocks no use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.broker.connection import Connection
from shared.errors import TopologyMismatch
from tests.support.waiting import eventually_async


class Declaration:
    """Counts its calls; each call succeeds except those named."""

    def __init__(self, url: str) -> None:
        self.calls = 0
        self.waits_at = 0
        self.fails_at = 0
        self.let_through = asyncio.Event()
        self.connection = Connection(url, "test", declare=self)

    async def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.waits_at:
            await self.let_through.wait()
        if self.calls == self.fails_at:
            raise TopologyMismatch("another limit")


@pytest.fixture
async def declaration(vhost_url: str) -> AsyncIterator[Declaration]:
    declaration = Declaration(vhost_url)
    yield declaration
    await declaration.connection.close()


async def up(connection: Connection) -> None:
    await asyncio.wait_for(connection.wait_up(), 10)


async def dropped(connection: Connection) -> None:
    connection.drop()
    await eventually_async(lambda: connection.state == "down")


async def test_nobody_uses_the_first_connection_before_everything_is_declared(declaration: Declaration) -> None:
    declaration.waits_at = 1
    declaration.connection.start()
    await eventually_async(lambda: declaration.calls)
    assert declaration.connection.state == "down"
    declaration.let_through.set()
    await up(declaration.connection)


async def test_one_that_came_back_is_used_while_a_declaration_waits(declaration: Declaration) -> None:
    declaration.waits_at = 2
    declaration.connection.start()
    await up(declaration.connection)
    await dropped(declaration.connection)
    await up(declaration.connection)
    assert declaration.calls == 2


async def test_other_arguments_found_after_it_came_back_end_it_too(declaration: Declaration) -> None:
    declaration.fails_at = 2
    declaration.connection.start()
    await up(declaration.connection)
    await dropped(declaration.connection)
    failure = await asyncio.wait_for(declaration.connection.wait_failed(), 10)
    assert str(failure) == "another limit"
    assert declaration.connection.state == "down"
