"""Tests what NotifyClient does when a connection ends: whether it comes back, when, and what makes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page

from shared.realtime.close_codes import (
    BAD_TOKEN,
    EVICTED,
    INTERNAL,
    MALFORMED,
    NORMAL,
    OVERLOADED,
    RESTART,
    REVOKED,
    TOO_FAST,
    TOO_SLOW,
    CloseCode,
)
from shared.store.values import Position
from tests.browser.clients import Client, start
from tests.browser.conftest import blank_page
from tests.support.fakes.node import FakeNode
from tests.support.waiting import eventually


@pytest.mark.parametrize("code", [INTERNAL, TOO_SLOW, RESTART, OVERLOADED], ids=lambda code: str(code.code))
def test_it_comes_back_and_resumes_after(page: Page, node: FakeNode, code: CloseCode) -> None:
    client = start(page)
    node.new("u1", "one")
    client.wait_titles("one")
    node.close(code)
    eventually(lambda: len(node.past) == 2)
    client.wait()
    assert node.past[1].resume == Position(client.state["position"]["epoch"], 1)


@pytest.mark.parametrize(
    ("code", "state"),
    [(NORMAL, "closed"), (MALFORMED, "closed"), (BAD_TOKEN, "closed"), (EVICTED, "paused"), (REVOKED, "closed")],
    ids=lambda value: str(getattr(value, "code", value)),
)
def test_it_stays_away_after(page: Page, node: FakeNode, code: CloseCode, state: str) -> None:
    page.clock.install()
    client = start(page)
    client.wait()
    node.close(code)
    status = client.wait(state)
    assert (status["code"], status["reason"], status["retryAt"]) == (code.code, code.reason, None)
    page.clock.fast_forward(120_000)
    assert client.status["state"] == state
    assert len(node.past) == 1
    page.evaluate("client.connect()")
    client.wait()
    assert len(node.past) == 2


def test_it_comes_back_when_the_server_said_and_not_before(page: Page, node: FakeNode) -> None:
    client = start(page)
    client.wait()
    before = page.evaluate("Date.now()")
    node.close(RESTART, after_ms=700)
    status = client.wait("waiting")
    assert 600 <= status["retryAt"] - before <= 1_500
    # Neither the network nor the user shortens what the server asked for: it spreads its devices.
    page.evaluate("() => { dispatchEvent(new Event('online')); dispatchEvent(new Event('focus')); }")
    eventually(lambda: len(node.past) == 2)
    assert page.evaluate("Date.now()") - before >= 690
    client.wait()


def test_after_too_many_frames_it_waits_for_at_least_ten_seconds(page: Page, node: FakeNode) -> None:
    client = start(page)
    client.wait()
    node.close(TOO_FAST)
    status = client.wait("waiting")
    assert status["retryAt"] - page.evaluate("Date.now()") > 9_000


def test_waits_grow_while_it_fails_and_begin_anew_after_a_minute_of_success(page: Page, node: FakeNode) -> None:
    page.clock.install()
    page.evaluate("() => { Math.random = () => 0; }")
    client = start(page, timing={"firstMs": 1_000, "baseMs": 500, "capMs": 30_000})
    client.wait()
    waits = [_wait_after_cut(page, node, client) for _ in range(4)]
    assert waits == [1_000, 1_000, 2_000, 4_000], "a connection that holds for a moment is no success"
    page.clock.fast_forward(61_000)
    assert _wait_after_cut(page, node, client) == 1_000


def test_a_server_that_restarts_is_no_success(page: Page, node: FakeNode) -> None:
    """If the next waits began anew, each deploy would bring all devices at once."""
    page.clock.install()
    page.evaluate("() => { Math.random = () => 0; }")
    client = start(page, timing={"firstMs": 1_000, "baseMs": 500, "capMs": 30_000})
    client.wait()
    assert _wait_after_cut(page, node, client) == 1_000
    node.close(RESTART, after_ms=20_000)
    client.wait("waiting")
    page.clock.fast_forward(20_000)
    client.wait()
    assert _wait_after_cut(page, node, client) == 2_000


def _wait_after_cut(page: Page, node: FakeNode, client: Client) -> int:
    node.cut()
    status = client.wait("waiting")
    wait: int = status["retryAt"] - page.evaluate("Date.now()")
    page.clock.fast_forward(wait)
    client.wait()
    return round(wait, -3)


def test_it_forgets_everything_when_the_user_was_erased_for_good(page: Page, node: FakeNode) -> None:
    node.new("u1", "secret")
    client = start(page)
    client.wait_titles("secret")
    node.close(REVOKED)
    client.wait("closed")
    assert client.titles == []
    assert page.evaluate("localStorage.length") == 0


def test_the_evicted_device_returns_when_its_user_does(page: Page, node: FakeNode) -> None:
    client = start(page)
    client.wait()
    node.close(EVICTED)
    client.wait("paused")
    page.evaluate("dispatchEvent(new Event('focus'))")
    client.wait()
    assert len(node.past) == 2


def test_six_browsers_do_not_chase_each_other(new_context: Callable[..., BrowserContext], node: FakeNode) -> None:
    clients = []
    for _ in range(6):
        tab = blank_page(new_context(), node)
        tab.clock.install()
        client = start(tab)
        client.wait()
        clients.append(client)
    clients[0].wait("paused")
    # Whoever came back by itself would evict the next.
    for client in clients:
        client.page.clock.fast_forward(60_000)
    assert [client.status["state"] for client in clients] == ["paused", *["live"] * 5]
    assert len(node.past) == 6
    assert clients[0].status["code"] == EVICTED.code
    node.new("u1", "for five")
    for client in clients[1:]:
        client.wait_titles("for five")
    assert clients[0].titles == []
    # The user looks at the first one: now it may take the place of the oldest.
    clients[0].page.evaluate("dispatchEvent(new Event('focus'))")
    clients[0].wait_titles("for five")
    clients[1].wait("paused")
    assert len(node.past) == 7


def test_a_dead_connection_is_noticed_when_the_server_does_not_answer_a_ping(page: Page, node: FakeNode) -> None:
    client = start(page, timing={"pongMs": 300})
    client.wait()
    node.deaf = True
    page.evaluate("dispatchEvent(new Event('offline'))")
    eventually(lambda: len(node.past) == 2)
    client.wait()
    assert [frame["type"] for frame in node.past[0].received if frame["type"] == "ping"] == ["ping"]
    assert "the server is silent" in [status["reason"] for status in client.events("status")]


def test_a_server_that_does_not_greet_is_left(page: Page, node: FakeNode) -> None:
    page.route_web_socket("**/ws", lambda socket: None)
    page.reload()
    client = start(page, timing={"greetMs": 200})
    # The silent sockets are given up, and events work.
    assert client.wait()["transport"] == "sse"


def test_a_time_that_no_browser_can_wait_for_is_not_taken_as_none(page: Page, node: FakeNode) -> None:
    client = start(page)
    client.wait()
    node.close(RESTART, after_ms=10**12)
    status = client.wait("waiting")
    assert 3_500_000 < status["retryAt"] - page.evaluate("Date.now()") <= 3_600_000
    assert len(node.past) == 1


def test_a_frame_that_is_not_understood_ends_the_connection_and_nothing_is_lost(page: Page, node: FakeNode) -> None:
    page.evaluate("""() => {
      window.sockets = [];
      const Real = window.WebSocket;
      window.WebSocket = class extends Real { constructor(...given) { super(...given); sockets.push(this); } };
    }""")
    client = start(page)
    node.new("u1", "one")
    client.wait_titles("one")
    for number, text in enumerate(['{"type": "notific', '{"type": "missed_notifications", "recovered": true}'], 2):
        page.evaluate("text => sockets.at(-1).onmessage(new MessageEvent('message', {data: text}))", text)
        eventually(lambda: len(node.past) == number)  # noqa: B023
        client.wait()
    assert client.titles == ["one"]
    assert node.past[-1].resume is not None


def test_a_page_that_is_left_frees_its_connection_and_resumes_when_its_user_comes_back(
    page: Page, node: FakeNode
) -> None:
    """A page with a connection could not be kept for the way back, and a kept one could not hear anything."""
    client = start(page)
    node.new("u1", "one")
    client.wait_titles("one")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    eventually(lambda: node.devices == [])
    assert page.evaluate("navigator.locks.query().then(({held, pending}) => held.length + pending.length)") == 0
    node.new("u1", "meanwhile")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    client.wait_titles("meanwhile", "one")
    assert node.past[-1].resume is not None
    assert client.status["role"] == "leader"


@pytest.mark.parametrize(("code", "state"), [(EVICTED, "live"), (BAD_TOKEN, "closed")], ids=lambda value: str(value))
def test_of_those_that_stay_away_only_the_evicted_returns_with_its_page(
    page: Page, node: FakeNode, code: CloseCode, state: str
) -> None:
    client = start(page)
    client.wait()
    node.close(code)
    client.wait("paused" if code is EVICTED else "closed")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    eventually(lambda: client.status["role"] == "leader")
    client.wait(state)
