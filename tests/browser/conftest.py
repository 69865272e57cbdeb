"""Starts Chromium once for this package, and gives every test a profile of its own and a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from ops.servers.programs import require
from tests.support.fakes.node import FakeNode, fake_node
from tests.support.stores import Databases

#: What a browser itself reports when a connection fails; the tests make connections fail.
_EXPECTED = ("WebSocket connection to", "Failed to load resource", "net::ERR_")
_SLOWEST_MS = 15_000


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    # Playwright's own browser cannot be installed everywhere; the package's one is used as it is.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(require("chromium")))
        yield browser
        browser.close()


@pytest.fixture
def node(databases: Databases) -> Iterator[FakeNode]:
    with databases.empty("sqlite") as url, fake_node(url) as made:
        yield made


@pytest.fixture
def complaints() -> list[str]:
    """Collects what the pages of a test complain about; the test fails if there is anything."""
    return []


@pytest.fixture
def new_context(chromium: Browser, complaints: list[str]) -> Iterator[Callable[..., BrowserContext]]:
    """Yields what makes a profile: its pages share storage, locks and channels with each other and with no others."""
    made: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        context = chromium.new_context(**options)
        context.set_default_timeout(_SLOWEST_MS)
        context.on("console", lambda message: _collect(message, complaints))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        made.append(context)
        return context

    yield make
    for context in made:
        context.close()
    assert complaints == []


@pytest.fixture
def context(new_context: Callable[..., BrowserContext]) -> BrowserContext:
    return new_context()


@pytest.fixture
def page(context: BrowserContext, node: FakeNode) -> Page:
    """Returns an empty page of the node."""
    return blank_page(context, node)


def blank_page(context: BrowserContext, node: FakeNode) -> Page:
    page = context.new_page()
    page.goto(f"{node.url}/blank")
    return page


def _collect(message: ConsoleMessage, complaints: list[str]) -> None:
    if message.type in ("error", "warning") and not any(word in message.text for word in _EXPECTED):
        complaints.append(message.text)
