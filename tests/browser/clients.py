"""Drives a NotifyClient in a page."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.support.waiting import eventually

#: Times that make a test short; the rules are the same.
FAST = {"firstMs": 60, "baseMs": 30, "capMs": 240, "saveMs": 10, "ackMs": 20, "pollMs": 5_000, "pollGapMs": 20}

_START = """async ({options, fixed}) => {
  const { NotifyClient } = await import('/notify-inbox.js');
  window.reasons = [];
  window.seen = [];
  window.tokens = 0;
  const token = ({reason}) => {
    reasons.push(reason);
    return `token-of-${options.user}#${window.tokens += 1}`;
  };
  const client = new NotifyClient({
    node: `ws://${location.host}/ws`, api: location.origin, token: fixed ?? token, ...options,
  });
  for (const type of ['status', 'notification', 'missed', 'reset']) {
    client.addEventListener(type, ({detail}) => seen.push([type, detail ?? null]));
  }
  window.client = client.start();
}"""
_STATE = """() => ({
  status: client.status, unread: client.unread, position: client.inbox.position,
  titles: client.items.map((row) => row.title),
  unreadTitles: client.items.filter((row) => !row.read_at && !row.archived_at).map((row) => row.title),
})"""


class Client:
    """Is the client of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(_STATE)
        return found

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate("client.status")
        return found

    @property
    def titles(self) -> list[str]:
        """Returns the titles of all rows, newest first."""
        found: list[str] = self.state["titles"]
        return found

    @property
    def unread(self) -> int:
        found: int = self.page.evaluate("client.unread")
        return found

    def events(self, kind: str) -> list[Any]:
        """Returns the details of the events of this kind so far."""
        found: list[Any] = self.page.evaluate("kind => seen.filter(([type]) => type === kind).map(([, d]) => d)", kind)
        return found

    def states(self) -> list[str]:
        """Returns the states that the client has been in."""
        return [status["state"] for status in self.events("status")]

    def wait(self, state: str = "live", deadline_s: float = 10.0) -> dict[str, Any]:
        """Waits until the client is in this state. Returns its status."""

        def reached() -> dict[str, Any]:
            status = self.status
            assert status["state"] == state, status
            return status

        return eventually(reached, deadline_s)

    def wait_titles(self, *titles: str) -> None:
        """Waits until exactly these rows are there, newest first."""

        def reached() -> bool:
            assert self.titles == list(titles)
            return True

        eventually(reached)

    def wait_unread(self, unread: int) -> None:
        def reached() -> bool:
            assert self.unread == unread
            return True

        eventually(reached)


def start(
    page: Page, user: str = "u1", *, token: str | None = None, timing: dict[str, Any] | None = None, **more: Any
) -> Client:
    """Starts a client for the user in the page; ``token`` is a text in place of a function that makes tokens."""
    options = {"user": user, "timing": {**FAST, **(timing or {})}, **more}
    page.evaluate(_START, {"options": options, "fixed": token})
    return Client(page)
