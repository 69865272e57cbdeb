"""The stand-in providers, running in the test's own loop on free ports."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.server import Sandbox, start


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """An empty sandbox, for this test alone."""
    async with start() as running:
        yield running


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    """A client whose relative URLs lead to ``sandbox``."""
    async with aiohttp.ClientSession(sandbox.url) as client:
        yield client
