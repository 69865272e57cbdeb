"""Tests that NotifyClient works where sockets are blocked, and goes back to them where they are not."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.clients import start
from tests.support.fakes.node import FakeNode
from tests.support.waiting import eventually


def test_events_are_used_where_sockets_are_refused(page: Page, node: FakeNode) -> None:
    one = node.new("u1", "before")
    node.refuse_sockets = 403
    client = start(page)
    assert client.wait()["transport"] == "sse"
    client.wait_titles("before")
    node.new("u1", "live")
    client.wait_titles("live", "before")
    assert [detail["row"]["title"] for detail in client.events("notification")] == ["live"]
    # Changes go by HTTP.
    page.evaluate("id => client.read([id])", one)
    client.wait_unread(1)
    node.silenced.add("u1")
    node.new("u1", "missed")
    node.cut()
    client.wait_titles("missed", "live", "before")
    assert [device.transport for device in node.past] == ["sse", "sse"]
    resume = node.past[1].resume
    assert resume is not None
    assert resume.offset == 3


@pytest.mark.parametrize("refused", [403, 404, 503])
def test_polls_are_used_where_streams_are_refused_too(page: Page, node: FakeNode, refused: int) -> None:
    ids = node.new_many("u1", ["one", "two"])
    node.refuse_sockets = 403
    # A proxy forbids with the same status that a node has for the token of another user.
    node.refuse_events = refused
    client = start(page)
    assert client.wait()["transport"] == "poll"
    client.wait_titles("two", "one")
    node.new("u1", "three")
    client.wait_titles("three", "two", "one")
    page.evaluate("id => client.delete([id])", ids[0])
    client.wait_titles("three", "two")
    page.evaluate("client.readAll()")
    client.wait_unread(0)


def test_an_expired_token_is_replaced_on_every_way(page: Page, node: FakeNode) -> None:
    node.refuse_sockets = 403
    # The sockets are refused twice, before the token is looked at; events answer 401 to the third.
    node.expired.add("token-of-u1#3")
    client = start(page)
    assert client.wait()["transport"] == "sse"
    assert page.evaluate("reasons") == ["connect", "connect", "connect", "expired"]


def test_it_goes_back_to_sockets_when_they_work(page: Page, node: FakeNode) -> None:
    node.refuse_sockets = 403
    client = start(page, timing={"upgradeMs": 150})
    assert client.wait()["transport"] == "sse"
    attempts = node.attempts
    eventually(lambda: node.attempts > attempts)
    assert client.status["state"] == "live", "the look at the sockets does not disturb what works"
    node.refuse_sockets = None
    eventually(lambda: client.status["transport"] == "socket" and client.status["state"] == "live")


def test_a_node_that_dies_and_comes_back_is_found_again(page: Page, node: FakeNode) -> None:
    client = start(page)
    client.wait()
    node.die()
    eventually(lambda: client.states().count("waiting") >= 3)
    node.new("u1", "while it was dead")
    node.listen()
    client.wait_titles("while it was dead")
    assert client.wait()["state"] == "live"


def test_after_an_outage_it_does_not_stay_on_a_fallback_for_long(page: Page, node: FakeNode) -> None:
    client = start(page, timing={"upgradeMs": 30_000})
    assert client.wait()["transport"] == "socket"
    node.refuse_sockets = 503
    node.cut()
    eventually(lambda: client.status["transport"] == "sse" and client.status["state"] == "live")
    node.refuse_sockets = None
    # A hundredth of the usual time.
    eventually(lambda: client.status["transport"] == "socket" and client.status["state"] == "live")


def test_a_token_of_another_user_is_refused_on_every_way(page: Page, node: FakeNode) -> None:
    node.refuse_sockets = 403
    answer = {"status": 403, "content_type": "application/json", "body": '{"code": "wrong_user"}'}
    page.route("**/sse**", lambda route: route.fulfill(**answer))
    assert start(page).wait("closed")["code"] == 4503


def test_a_server_that_names_a_time_in_a_header_gets_a_random_time_after_it(page: Page, node: FakeNode) -> None:
    """The header has the same time for every device, and they would all come back at that moment."""
    node.refuse_sockets = 403
    answer = {"status": 503, "headers": {"Retry-After": "5"}}
    page.route("**/sse**", lambda route: route.fulfill(**answer))
    page.clock.set_fixed_time(1_000_000)
    page.evaluate("() => { Math.random = () => 0.5; }")
    client = start(page)
    eventually(lambda: client.status["told"])
    # It is the third attempt: half of 120 ms.
    assert client.status["retryAt"] - page.evaluate("Date.now()") == 5_060


def test_polls_do_not_follow_on_each_other_at_once(page: Page, node: FakeNode) -> None:
    node.refuse_sockets = 403
    node.refuse_events = 404
    client = start(page, timing={"pollGapMs": 400})
    client.wait()
    for number in range(20):
        node.new("u1", f"number {number}")
    eventually(lambda: client.unread == 20)
    assert len([device for device in node.past if device.transport == "poll"]) < 10


def test_the_next_page_begins_with_what_works(page: Page, node: FakeNode) -> None:
    node.refuse_sockets = 403
    node.new("u1", "one")
    client = start(page)
    assert client.wait()["transport"] == "sse"
    eventually(lambda: page.evaluate("Object.values(localStorage).join()").count('"way":"sse"'))
    attempts = node.attempts
    page.reload()
    assert start(page).wait()["transport"] == "sse"
    assert node.attempts == attempts
    # After some time it looks anew whether sockets work.
    page.evaluate("""() => {
      const [[name, text]] = Object.entries(localStorage);
      client.stop();
      localStorage.setItem(name, JSON.stringify({...JSON.parse(text), wayUntil: Date.now() - 1}));
    }""")
    node.refuse_sockets = None
    assert start(page).wait()["transport"] == "socket"


def test_a_page_that_may_not_open_sockets_uses_events(page: Page, node: FakeNode) -> None:
    page.evaluate("""() => {
      window.WebSocket = class { constructor() { throw new DOMException('forbidden', 'SecurityError'); } };
    }""")
    client = start(page, timing={"upgradeMs": 20})
    assert client.wait()["transport"] == "sse"
    node.new("u1", "one")
    client.wait_titles("one")


def test_a_stream_is_made_anew_when_the_network_has_changed(page: Page, node: FakeNode) -> None:
    node.refuse_sockets = 403
    client = start(page)
    client.wait()
    before = len(node.past)
    page.evaluate("dispatchEvent(new Event('online'))")
    eventually(lambda: len(node.past) == before + 1)
    assert client.wait()["transport"] == "sse"
