"""Tests that the page in the README works as it stands there; only the addresses are those of the test."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from tests.support.fakes.node import FakeNode

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_page_of_ten_lines_shows_an_inbox(
    new_context: Callable[..., BrowserContext], node: FakeNode, tmp_path: Path
) -> None:
    found = re.search(r"<!-- page -->\n```html\n(.*?)```", README, re.DOTALL)
    assert found is not None
    text = found[1]
    assert len(text.splitlines()) == 10
    assert text.count("http://127.0.0.1:5050/") == 1
    node.open = True
    node.new("user_id1", "Order shipped")
    # The usual port of the sockets is taken from the host of the gateway: here the node is at another one.
    text = text.replace("http://127.0.0.1:5050", node.url)
    text = text.replace('user="user_id1"', f'user="user_id1" node="ws://127.0.0.1:{node.port}/ws"')
    page = new_context().new_page()
    (tmp_path / "inbox.html").write_text(text)
    page.goto(f"file://{tmp_path}/inbox.html")
    expect(page.locator("notify-inbox .badge")).to_have_text("1")
    page.locator("notify-inbox .bell").click()
    expect(page.get_by_role("article")).to_contain_text("Order shipped")
