"""Tests that NotifyClient stays equal to the server: what arrives, what is missed, and what the user does."""

from __future__ import annotations

from playwright.sync_api import Page

from shared.store.values import Position
from tests.browser.clients import start
from tests.support.fakes.node import FakeNode
from tests.support.waiting import eventually

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
