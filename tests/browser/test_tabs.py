"""Tests that all tabs of a browser share one connection, whatever happens to the tab that has it."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from shared.realtime.close_codes import EVICTED, REVOKED
from tests.browser.clients import start
from tests.browser.conftest import blank_page
from tests.support.fakes.node import FakeNode
from tests.support.waiting import eventually


@pytest.fixture
def second(context: BrowserContext, node: FakeNode) -> Page:
    """Returns a second tab of the same browser."""
    return blank_page(context, node)


def test_two_tabs_share_one_connection(page: Page, second: Page, node: FakeNode) -> None:
    node.new("u1", "before")
    one, two = start(page), start(second)
    one.wait()
    two.wait()
    assert [one.status["role"], two.status["role"]] == ["leader", "follower"]
    two.wait_titles("before")
    assert len(node.past) == 1
    node.new("u1", "live")
    for client in one, two:
        client.wait_titles("live", "before")
        client.wait_unread(2)
        assert len(client.events("notification")) == 1
    assert node.attempts == 1


def test_read_in_one_tab_clears_the_other(page: Page, second: Page, node: FakeNode) -> None:
    ids = node.new_many("u1", ["one", "two"])
    one, two = start(page), start(second)
    two.wait_titles("two", "one")
    second.evaluate("id => client.read([id])", ids[0])
    for client in one, two:
        client.wait_unread(1)
        assert client.state["unreadTitles"] == ["two"]
    page.evaluate("client.readAll()")
    two.wait_unread(0)
    assert len(node.past) == 1


def test_when_the_tab_with_the_connection_closes_the_other_one_resumes(
    page: Page, second: Page, node: FakeNode
) -> None:
    one, two = start(page), start(second)
    one.wait()
    node.new("u1", "one")
    two.wait_titles("one")
    page.close()
    eventually(lambda: len(node.past) == 2)
    two.wait()
    assert two.status["role"] == "leader"
    resume = node.past[1].resume
    assert resume is not None
    assert resume.offset == 1
    node.new("u1", "two")
    two.wait_titles("two", "one")


def test_a_mark_that_was_given_to_a_tab_that_closes_is_made_by_the_next(
    page: Page, second: Page, node: FakeNode
) -> None:
    ids = node.new_many("u1", ["one", "two"])
    one, two = start(page), start(second)
    one.wait()
    two.wait_titles("two", "one")
    node.refuse_sockets = node.refuse_events = 503
    node.cut()
    two.wait("waiting")
    second.evaluate("id => { window.marked = client.read([id]).then(() => 'done', (error) => error.code); }", ids[0])
    page.close()
    node.refuse_sockets = node.refuse_events = None
    assert second.evaluate("marked") == "done"
    two.wait_unread(1)


def test_the_sixth_device_is_a_browser_and_not_a_tab(page: Page, second: Page, node: FakeNode) -> None:
    one, two = start(page), start(second)
    two.wait()
    node.close(EVICTED)
    two.wait("paused")
    one.wait("paused")
    # The user looks at the tab without the connection: the browser comes back.
    second.evaluate("dispatchEvent(new Event('focus'))")
    two.wait()
    one.wait()
    assert len(node.past) == 2


def test_a_tab_that_inherits_an_eviction_stays_away_too(page: Page, second: Page, node: FakeNode) -> None:
    second.clock.install()
    start(page)
    two = start(second)
    two.wait()
    node.close(EVICTED)
    two.wait("paused")
    page.close()
    eventually(lambda: two.status["role"] == "leader")
    second.clock.fast_forward(60_000)
    assert two.status["state"] == "paused"
    assert len(node.past) == 1


def test_a_tab_that_lost_a_message_of_the_other_gets_everything(page: Page, second: Page, node: FakeNode) -> None:
    one, two = start(page), start(second)
    one.wait()
    two.wait()
    second.evaluate("""() => {
      window.real = client.inbox.apply.bind(client.inbox);
      client.inbox.apply = () => ({kind: 'old'});
    }""")
    node.new("u1", "lost")
    one.wait_titles("lost")
    second.evaluate("() => { client.inbox.apply = real; }")
    node.new("u1", "next")
    two.wait_titles("next", "lost")


def test_without_web_locks_every_tab_has_its_own_connection(page: Page, second: Page, node: FakeNode) -> None:
    for tab in page, second:
        tab.evaluate("Object.defineProperty(navigator, 'locks', {value: undefined})")
    one, two = start(page), start(second)
    one.wait()
    two.wait()
    assert [one.status["role"], two.status["role"]] == ["alone", "alone"]
    assert len(node.devices) == 2
    node.new("u1", "live")
    for client in one, two:
        client.wait_titles("live")
        assert len(client.events("notification")) == 1
        assert client.unread == 1


def test_two_users_in_one_browser_do_not_mix(page: Page, second: Page, node: FakeNode) -> None:
    one, two = start(page, "u1"), start(second, "u2")
    one.wait()
    two.wait()
    node.new("u1", "for one")
    node.new("u2", "for two")
    one.wait_titles("for one")
    two.wait_titles("for two")


# -- A tab that has the connection and cannot use it -----------------------------------------------------------------


def test_a_tab_that_is_frozen_loses_the_connection_to_one_that_is_looked_at(
    page: Page, second: Page, node: FakeNode
) -> None:
    one = start(page, timing={"pongMs": 100})
    one.wait()
    two = start(second, timing={"pongMs": 100})
    two.wait()
    assert two.status["role"] == "follower"
    # A page that waits for an answer like this does nothing else.
    held: list[Route] = []
    page.route("**/frozen", lambda route: held.append(route))
    page.evaluate("""() => {
      const request = new XMLHttpRequest();
      request.open('GET', '/frozen', false);
      setTimeout(() => request.send());
    }""")
    eventually(lambda: two.status["role"] == "leader")
    two.wait()
    node.new("u1", "not seen by the frozen one")
    two.wait_titles("not seen by the frozen one")
    held[0].fulfill(body="")
    one.wait_titles("not seen by the frozen one")
    assert one.wait()["role"] == "follower"
    eventually(lambda: len(node.devices) == 1)


def test_the_late_timers_of_a_hidden_tab_do_not_keep_the_others_waiting(
    page: Page, second: Page, node: FakeNode
) -> None:
    one = start(page)
    one.wait()
    two = start(second, timing={"pongMs": 50})
    two.wait()
    page.evaluate("() => { window.setTimeout = () => 0; }")
    node.cut()
    eventually(lambda: len(node.past) == 2)
    assert two.wait()["role"] == "follower"


def test_a_tab_that_comes_back_gives_its_connection_to_the_others_meanwhile(
    page: Page, second: Page, node: FakeNode
) -> None:
    one, two = start(page), start(second)
    one.wait()
    two.wait()
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    eventually(lambda: two.status["role"] == "leader")
    two.wait()
    node.new("u1", "meanwhile")
    two.wait_titles("meanwhile")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    one.wait_titles("meanwhile")
    assert one.wait()["role"] == "follower"
    assert len(node.devices) == 1


def test_a_tab_that_waits_for_an_answer_does_not_ask_with_each_frame(page: Page, node: FakeNode) -> None:
    """Each answer is the whole inbox: a hundred frames must not fetch it a hundred times."""
    other = blank_page(page.context, node)
    other.evaluate(
        """async (name) => {
          await new Promise((taken) => navigator.locks.request(name, () => { taken(); return new Promise(() => {}); }));
          window.asked = 0;
          window.channel = new BroadcastChannel(name);
          channel.onmessage = ({data}) => { asked += data.kind === 'hello'; };
        }""",
        f"notify-inbox:ws://127.0.0.1:{node.port}/ws#u1",
    )
    client = start(page)
    eventually(lambda: other.evaluate("asked") == 1)
    other.evaluate("""() => {
      const status = {state: 'live', transport: 'socket'};
      const snapshot = {position: {epoch: 'e', offset: 1}, unread: 0, more: false, rows: [], readUpto: [], seen: []};
      channel.postMessage({kind: 'state', snapshot, status});
      for (let offset = 9; offset < 19; offset += 1) {
        const frame = {type: 'updated', offset, prev: offset - 1, unread: 0, items: []};
        channel.postMessage({kind: 'frame', frame, midway: true});
      }
      channel.postMessage({kind: 'status', status: {state: 'waiting', reason: 'that was all', retryAt: 0}});
    }""")
    client.wait("waiting")
    eventually(lambda: other.evaluate("asked") == 2)


# -- Logging in and out ----------------------------------------------------------------------------------------------


def test_logging_out_in_one_tab_empties_all_of_them(page: Page, second: Page, node: FakeNode) -> None:
    node.new("u1", "secret")
    one, two = start(page), start(second)
    one.wait_titles("secret")
    two.wait_titles("secret")
    eventually(lambda: page.evaluate("localStorage.length") == 1)
    second.evaluate("client.forget()")
    one.wait("stopped")
    for client in one, two:
        client.wait_titles()
    assert page.evaluate("localStorage.length") == 0
    eventually(lambda: node.devices == [])


def test_a_user_who_was_erased_is_gone_from_every_tab(page: Page, second: Page, node: FakeNode) -> None:
    node.new("u1", "secret")
    one, two = start(page), start(second)
    two.wait_titles("secret")
    node.close(REVOKED)
    for client in one, two:
        client.wait("closed")
        client.wait_titles()


def test_a_tab_with_a_newer_token_lends_it_to_the_one_with_the_connection(
    page: Page, second: Page, node: FakeNode
) -> None:
    node.bad.add("token-of-u1")
    one = start(page, token="token-of-u1")
    one.wait("closed")
    two = start(second, token="token-of-u1#2")
    two.wait()
    one.wait()
    assert one.status["role"] == "leader"
    second.evaluate("client.setToken('token-of-u1#3')")
    eventually(
        lambda: (
            [frame["token"] for frame in node.past[-1].received if frame["type"] == "auth"][-1:] == ["token-of-u1#3"]
        )
    )
