"""Tests what NotifyClient keeps in the browser, and that it works where it may keep nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from shared.store.values import Position
from tests.browser.clients import start
from tests.support.fakes.node import FakeNode
from tests.support.waiting import eventually

_STORED = "JSON.parse(Object.values(localStorage)[0] ?? 'null')"


@pytest.mark.parametrize(
    "stored",
    [
        "no JSON",
        "{}",
        '{"version": 1}',
        '{"version": 1, "position": {}, "rows": [], "seen": [], "readUpto": []}',
        '{"version": 1, "position": {"epoch": "e1", "offset": "1"}, "rows": [], "seen": [], "readUpto": []}',
        '{"version": 1, "position": {"epoch": "e1", "offset": 1}, "rows": 5}',
        '{"version": 2, "position": {"epoch": "e1", "offset": 1}, "rows": [], "seen": [], "readUpto": []}',
    ],
)
def test_what_cannot_be_understood_is_loaded_anew(page: Page, node: FakeNode, stored: str) -> None:
    node.new("u1", "one")
    page.evaluate("([name, text]) => localStorage.setItem(name, text)", [_name(node), stored])
    client = start(page)
    client.wait_titles("one")
    assert node.past[0].resume is None


def test_a_browser_without_room_has_a_live_inbox_and_no_old_one(page: Page, node: FakeNode) -> None:
    node.new("u1", "one")
    client = start(page)
    client.wait_titles("one")
    eventually(lambda: page.evaluate(_STORED) is not None)
    page.evaluate("""() => {
      Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };
    }""")
    node.new("u1", "two")
    client.wait_titles("two", "one")
    # An old position would bring the newer rows as if they had never been shown.
    eventually(lambda: page.evaluate("localStorage.length") == 0)
    assert client.status["state"] == "live"


@pytest.mark.parametrize("forbidden", ["localStorage", "getItem"])
def test_a_page_that_may_store_nothing_has_an_inbox(page: Page, node: FakeNode, forbidden: str) -> None:
    page.evaluate(
        """(name) => {
          const refuse = () => { throw new DOMException('forbidden', 'SecurityError'); };
          if (name === 'localStorage') Object.defineProperty(window, name, {get: refuse});
          else for (const method of ['getItem', 'setItem', 'removeItem']) Storage.prototype[method] = refuse;
        }""",
        forbidden,
    )
    node.new("u1", "one")
    client = start(page)
    client.wait_titles("one")
    node.new("u1", "two")
    client.wait_titles("two", "one")
    page.evaluate("client.forget()")
    assert client.titles == []


def test_long_texts_do_not_fill_the_storage(page: Page, node: FakeNode) -> None:
    node.new_many("u1", [f"number {number}" for number in range(150)], body="x" * 4_000)
    client = start(page)
    client.wait()
    stored = eventually(lambda: page.evaluate(_STORED))
    assert page.evaluate("Object.values(localStorage)[0].length") <= 500_000
    assert 0 < len(stored["rows"]) < 150
    assert stored["rows"][0]["title"] == "number 149", "the newest ones are kept"
    assert stored["more"] is True
    page.reload()
    again = start(page)
    again.wait()
    assert node.past[-1].resume == Position(stored["position"]["epoch"], stored["position"]["offset"])
    assert again.unread == 150


def test_a_hidden_page_has_stored_everything(page: Page, node: FakeNode) -> None:
    """A phone may end it without another word."""
    client = start(page, timing={"saveMs": 600_000})
    node.new("u1", "one")
    client.wait_titles("one")
    assert page.evaluate(_STORED) is None
    page.evaluate("""() => {
      Object.defineProperty(document, 'visibilityState', {value: 'hidden'});
      document.dispatchEvent(new Event('visibilitychange'));
    }""")
    assert [row["title"] for row in page.evaluate(_STORED)["rows"]] == ["one"]


def test_a_page_that_stays_open_for_long_does_not_grow_for_ever(page: Page, node: FakeNode) -> None:
    client = start(page)
    client.wait()
    resets = len(client.events("reset"))
    page.evaluate("""() => client.inbox.add([...Array(3_100).keys()].map((id) => ({
      id: -id, offset: 0, title: `old ${id}`, body: '', read_at: '2026-01-01T00:00:00Z', archived_at: null,
    })))""")
    assert len(client.titles) == 3_100, "what somebody has scrolled to stays"
    node.new("u1", "live")
    eventually(lambda: len(client.titles) < 1_600)
    assert client.titles[0] == "live"
    assert len(client.events("reset")) == resets + 1, "lists have to be read again, or they would have a hole"


def _name(node: FakeNode) -> str:
    return f"notify-inbox:ws://127.0.0.1:{node.port}/ws#u1"
