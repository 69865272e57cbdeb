"""Starts Chromium once for this package, and gives every test a profile of its own and a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from ops.servers.programs import require
from tests.browser.elements import Inbox
from tests.support.fakes.node import FakeNode, fake_node
from tests.support.stores import Databases

#: What a browser itself reports when a connection fails; the tests make connections fail.
_EXPECTED = ("WebSocket connection to", "Failed to load resource", "net::ERR_")
_SLOWEST_MS = 15_000
#: The browser calls nobody but the test's own servers, and needs neither a sandbox nor a graphics card.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    # Playwright's own browser cannot be installed everywhere; the package's one is used as it is.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(require("chromium")), args=_FLAGS)
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


@pytest.fixture
def open_inbox(context: BrowserContext, node: FakeNode) -> Callable[..., Inbox]:
    """Returns what opens a page with the element; the keywords are its attributes, and ``dir`` and ``lang``."""

    def open_(user: str = "u1", **attributes: str) -> Inbox:
        page = context.new_page()
        page.goto(f"{node.url}/page?{urlencode({'user': user, **attributes})}")
        inbox = Inbox(page)
        inbox.wait_live()
        return inbox

    return open_


@pytest.fixture
def inbox(open_inbox: Callable[..., Inbox]) -> Inbox:
    return open_inbox()


def blank_page(context: BrowserContext, node: FakeNode) -> Page:
    page = context.new_page()
    page.goto(f"{node.url}/blank")
    return page


def _collect(message: ConsoleMessage, complaints: list[str]) -> None:
    if message.type in ("error", "warning") and not any(word in message.text for word in _EXPECTED):
        complaints.append(message.text)
