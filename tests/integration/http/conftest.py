"""Runs each test of this folder on asyncio's own loop, as other tests do, and on uvloop, as the product does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from shared.http.client import HttpClient
from tests.support.opened import opened


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with opened(HttpClient(connect_timeout_s=0.3)) as http:
        yield http
