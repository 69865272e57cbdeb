"""Tests that NotifyClient stays equal to the server, whatever happens to its connections."""

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
    TOKEN_EXPIRED,
    TOO_FAST,
    TOO_SLOW,
    CloseCode,
)
from shared.store.values import Position
from tests.browser.clients import Client, start
from tests.browser.conftest import blank_page
from tests.support.fakes.node import FakeNode
from tests.support.waiting import eventually


@pytest.fixture
def second(context: BrowserContext, node: FakeNode) -> Page:
    """Returns a second tab of the same browser."""
    return blank_page(context, node)


# -- Arriving and resuming -------------------------------------------------------------------------------------------


def test_a_first_load_brings_what_is_unread_and_then_everything_live(page: Page, node: FakeNode) -> None:
    node.new_many("u1", ["one", "two", "three"])
    client = start(page)
    client.wait()
    assert client.titles == ["three", "two", "one"]
    assert client.unread == 3
    node.new("u1", "four")
    client.wait_titles("four", "three", "two", "one")
    assert [detail["row"]["title"] for detail in client.events("notification")] == ["four"]
    assert client.unread == 4
    node.new("u2", "not for this user")
    node.new("u1", "five")
    client.wait_titles("five", "four", "three", "two", "one")


def test_what_was_missed_while_the_connection_was_lost_comes_with_the_next(page: Page, node: FakeNode) -> None:
    first = node.new("u1", "before")
    client = start(page)
    client.wait()
    node.silenced.add("u1")
    node.new("u1", "missed")
    node.mark("u1", [first], read=True)
    node.cut()
    client.wait_titles("missed", "before")
    client.wait_unread(1)
    missed = client.events("missed")[-1]
    assert missed["recovered"] is True
    assert [item["title"] for item in missed["fresh"]] == ["missed"]
    assert node.past[-1].resume == Position(client.state["position"]["epoch"], 1)
    assert client.events("notification") == [], "it was missed, it did not arrive"


def test_a_gap_makes_it_connect_again_and_resume(page: Page, node: FakeNode) -> None:
    client = start(page)
    node.new("u1", "one")
    client.wait_titles("one")
    node.silenced.add("u1")
    node.new("u1", "nobody is told of this")
    node.silenced.discard("u1")
    node.new("u1", "three")
    client.wait_titles("three", "nobody is told of this", "one")
    assert len(node.past) == 2
    resume = node.past[1].resume
    assert resume is not None
    assert resume.offset == 1
    assert client.unread == 3


def test_the_position_survives_a_reload_together_with_the_rows(page: Page, node: FakeNode) -> None:
    _, read = node.new_many("u1", ["kept", "read"])
    client = start(page)
    client.wait()
    node.mark("u1", [read], read=True)
    eventually(lambda: client.unread == 1)
    position = client.state["position"]
    page.reload()
    node.new("u1", "new")
    # The rows are there before any connection is.
    node.refuse_sockets = 503
    again = start(page, timing={"firstMs": 200, "baseMs": 200})
    assert again.titles == ["read", "kept"]
    assert again.unread == 1
    node.refuse_sockets = None
    again.wait_titles("new", "read", "kept")
    assert node.past[-1].resume == Position(position["epoch"], position["offset"])
    assert [item["title"] for item in again.events("missed")[-1]["fresh"]] == ["new"]


def test_an_inbox_that_was_erased_is_emptied(page: Page, node: FakeNode) -> None:
    node.new_many("u1", ["one", "two"])
    client = start(page)
    client.wait_titles("two", "one")
    node.erase("u1")
    client.wait_titles()
    assert client.events("reset") == [None, None], "once at the first load, once now"
    node.new("u1", "another life")
    node.cut()
    client.wait_titles("another life")


def test_a_stored_position_of_another_epoch_loads_everything_anew(page: Page, node: FakeNode) -> None:
    node.new_many("u1", ["one", "two"])
    client = start(page)
    client.wait()
    page.evaluate("client.stop()")
    node.erase("u1")
    node.new("u1", "after")
    again = start(page)
    again.wait_titles("after")
    assert again.events("missed")[-1]["recovered"] is False


def test_logging_out_leaves_nothing_in_the_browser(page: Page, node: FakeNode) -> None:
    node.new("u1", "secret")
    client = start(page)
    client.wait_titles("secret")
    eventually(lambda: page.evaluate("Object.values(localStorage).join()").count("secret") == 1)
    page.evaluate("client.forget()")
    assert page.evaluate("localStorage.length") == 0
    assert client.titles == []
    assert client.status["state"] == "stopped"
    eventually(lambda: node.devices == [])


def test_what_an_old_connection_still_delivers_is_ignored(page: Page, node: FakeNode) -> None:
    """Lets the page keep the old socket's handler, and calls it after the new connection is there."""
    page.evaluate("""() => {
      window.sockets = [];
      const Real = window.WebSocket;
      window.WebSocket = class extends Real { constructor(...given) { super(...given); sockets.push(this); } };
    }""")
    client = start(page)
    node.new("u1", "one")
    client.wait_titles("one")
    node.cut()
    eventually(lambda: len(node.past) == 2)
    client.wait()
    late = '{"type":"notification","offset":2,"prev":1,"unread":9,"notification":{"id":99,"offset":2,"title":"late"}}'
    page.evaluate("text => sockets[0].onmessage(new MessageEvent('message', {data: text}))", late)
    page.evaluate("() => sockets[0].onclose(new CloseEvent('close', {code: 4506}))")
    assert client.titles == ["one"]
    assert client.unread == 1
    assert client.status["state"] == "live"


# -- How a connection ends -------------------------------------------------------------------------------------------


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


# -- Tokens ----------------------------------------------------------------------------------------------------------


def test_an_expired_token_is_replaced(page: Page, node: FakeNode) -> None:
    client = start(page)
    client.wait()
    node.close(TOKEN_EXPIRED)
    eventually(lambda: len(node.past) == 2)
    client.wait()
    assert page.evaluate("reasons") == ["connect", "expired"]
    assert node.past[1].token != node.past[0].token


def test_a_token_that_is_refused_again_and_again_ends_in_an_error(page: Page, node: FakeNode) -> None:
    node.expired = {f"token-of-u1#{number}" for number in range(10)}
    client = start(page)
    assert client.wait("closed")["code"] == BAD_TOKEN.code
    assert page.evaluate("reasons") == ["connect", "expired"]


def test_a_fixed_token_that_has_expired_waits_for_another_one(page: Page, node: FakeNode) -> None:
    node.expired.add("token-of-u1")
    client = start(page, token="token-of-u1")
    client.wait("closed")
    page.evaluate("client.setToken('token-of-u1#2')")
    client.wait()


def test_a_token_that_is_about_to_expire_is_renewed_on_the_same_connection(page: Page, node: FakeNode) -> None:
    client = start(page)
    client.wait()
    node.say("u1", {"type": "expiring", "in_s": 60})
    (again,) = eventually(lambda: [frame for frame in node.past[0].received if frame["type"] == "auth"][1:])
    assert page.evaluate("reasons") == ["connect", "expiring"]
    assert again["token"] == "token-of-u1#2"
    assert len(node.past) == 1
    assert client.status["state"] == "live"


def test_a_page_that_gives_no_token_is_asked_again(page: Page, node: FakeNode) -> None:
    page.route("**/token-service", lambda route: route.abort())
    page.evaluate("""async () => {
      const { NotifyClient } = await import('/notify-inbox.js');
      let broken = 2;
      const token = async () => { if (broken-- > 0) await fetch('/token-service'); return 'token-of-u1'; };
      const timing = {firstMs: 50, baseMs: 20, capMs: 100};
      window.client = new NotifyClient({user: 'u1', node: `ws://${location.host}/ws`, token, timing}).start();
    }""")
    Client(page).wait()


def test_a_token_of_another_user_is_not_used(page: Page, node: FakeNode) -> None:
    node.new("u2", "private")
    client = start(page, "u1", token="token-of-u2")
    status = client.wait("closed")
    assert status["code"] == 4503
    assert client.titles == []


@pytest.mark.parametrize("refused", [None, 403], ids=["socket", "sse"])
def test_a_development_server_is_told_the_user_instead(page: Page, node: FakeNode, refused: int | None) -> None:
    node.open = True
    node.refuse_sockets = refused
    node.new("u1", "one")
    client = start(page, token="")
    client.wait_titles("one")
    node.cut()
    eventually(lambda: len(node.past) == 2)
    client.wait()
    assert node.past[1].resume is not None


# -- What the user does ----------------------------------------------------------------------------------------------


def test_marks_go_to_the_server_and_come_back_as_frames(page: Page, node: FakeNode) -> None:
    one, two, three = node.new_many("u1", ["one", "two", "three"])
    client = start(page)
    client.wait()
    page.evaluate("id => client.read([id])", one)
    client.wait_unread(2)
    page.evaluate("id => client.unreadAgain(id)", one)
    client.wait_unread(3)
    page.evaluate("id => client.archive([id])", two)
    client.wait_unread(2)
    page.evaluate("id => client.delete([id])", three)
    client.wait_titles("two", "one")
    page.evaluate("client.readAll()")
    client.wait_unread(0)
    page.evaluate("id => client.unarchive([id])", two)
    eventually(lambda: not page.evaluate("id => client.inbox.get(id).archived_at", two))


def test_a_mark_without_a_connection_is_made_when_there_is_one(page: Page, node: FakeNode) -> None:
    one = node.new("u1", "one")
    client = start(page)
    client.wait()
    node.refuse_sockets = node.refuse_events = 503
    node.cut()
    client.wait("waiting")
    page.evaluate("id => { window.marked = client.read([id]).then(() => 'done', (error) => error.code); }", one)
    node.refuse_sockets = node.refuse_events = None
    assert page.evaluate("marked") == "done"
    client.wait_unread(0)


def test_a_mark_that_is_never_answered_fails(page: Page, node: FakeNode) -> None:
    one = node.new("u1", "one")
    client = start(page, timing={"changeMs": 200})
    client.wait()
    page.evaluate("client.disconnect()")
    assert page.evaluate("id => client.read([id]).then(() => 'done', (error) => error.code)", one) == "timeout"


def test_a_change_that_the_server_cannot_make_now_is_sent_again(page: Page, node: FakeNode) -> None:
    one = node.new("u1", "one")
    client = start(page, timing={"againMs": 50})
    client.wait()
    node.errors = ["rate_limited", "store_unavailable"]
    page.evaluate("id => client.read([id])", one)
    client.wait_unread(0)
    node.errors = ["invalid"]
    assert page.evaluate("id => client.read([id]).then(() => 'done', (error) => error.code)", one) == "invalid"


def test_read_all_leaves_what_arrives_meanwhile_unread(page: Page, node: FakeNode) -> None:
    node.new("u1", "seen")
    client = start(page)
    client.wait()
    node.silenced.add("u1")
    node.new("u1", "not seen yet")
    page.evaluate("client.readAll()")
    node.cut()
    client.wait_titles("not seen yet", "seen")
    assert client.state["unreadTitles"] == ["not seen yet"]
    assert client.unread == 1


def test_what_was_received_is_acknowledged(page: Page, node: FakeNode) -> None:
    client = start(page)
    client.wait()
    node.new_many("u1", ["one", "two", "three"])
    client.wait_titles("three", "two", "one")
    eventually(lambda: {"type": "ack", "offset": 3} in node.past[0].received)


def test_older_rows_are_read_by_http_and_mixed_in(page: Page, node: FakeNode) -> None:
    old = node.new_many("u1", [f"old {number}" for number in range(5)])
    node.mark("u1", old, read=True)
    node.new("u1", "unread")
    client = start(page)
    client.wait_titles("unread")
    first = page.evaluate("client.list({limit: 3})")
    assert client.titles == ["unread", "old 4", "old 3"]
    page.evaluate("cursor => client.list({limit: 3, cursor})", first["next"])
    assert client.titles == ["unread", "old 4", "old 3", "old 2", "old 1", "old 0"]
    assert client.unread == 1


# -- One connection per browser --------------------------------------------------------------------------------------


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


# -- Where sockets are blocked ---------------------------------------------------------------------------------------


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


def test_polls_are_used_where_streams_are_refused_too(page: Page, node: FakeNode) -> None:
    ids = node.new_many("u1", ["one", "two"])
    node.refuse_sockets = 403
    node.refuse_events = 404
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
