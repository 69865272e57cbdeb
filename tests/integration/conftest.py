"""Provides the stand-in providers, running in the test's own loop on free ports, and clients of Redis."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import redis

from sandbox.server import Sandbox, start
from shared.idempotency.claims import Claims
from shared.metrics import Metrics
from shared.redis.client import sync_client


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


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    with sync_client(redis_url) as client:
        yield client


@pytest.fixture
async def claims(redis_url: str) -> AsyncIterator[Claims]:
    async with Claims(redis_url, lease_s=60, ttl_s=3600, metrics=Metrics()) as claims:
        yield claims
