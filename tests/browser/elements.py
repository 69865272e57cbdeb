"""Shows ``<notify-inbox>`` in a page, and presses its buttons."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

from tests.support.waiting import eventually


class Inbox:
    """Is the element of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def bell(self) -> Locator:
        return self.page.locator("notify-inbox .bell")

    @property
    def badge(self) -> Locator:
        return self.page.locator("notify-inbox .badge")

    @property
    def panel(self) -> Locator:
        return self.page.get_by_role("dialog")

    @property
    def rows(self) -> Locator:
        return self.page.get_by_role("article")

    @property
    def toasts(self) -> Locator:
        return self.page.locator("notify-inbox .toast")

    def row(self, title: str) -> Locator:
        return self.rows.filter(has_text=title)

    def press(self, name: str, row: str) -> None:
        """Presses the button of a row."""
        found = self.row(row)
        found.hover()
        found.get_by_role("button", name=name).click()

    def focused(self) -> str:
        """Returns the text of what has the focus inside the element."""
        found: str = self.page.evaluate(
            "() => document.querySelector('notify-inbox').shadowRoot.activeElement?.textContent ?? ''"
        )
        return found

    def wait_live(self) -> None:
        # Playwright's own waiting evaluates a text inside the page, which the page's policy forbids.
        eventually(lambda: self.page.evaluate("document.querySelector('notify-inbox').client?.status.state === 'live'"))
