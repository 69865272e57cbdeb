"""Tests ``<notify-inbox>``: what a person sees and can press."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from shared.realtime.close_codes import EVICTED
from tests.browser.elements import Inbox
from tests.support.fakes.node import FakeNode
from tests.support.waiting import eventually

# -- Bell, list, toasts ----------------------------------------------------------------------------------------------


def test_the_bell_counts_and_the_list_shows(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", ["one", "two"])
    inbox = open_inbox()
    expect(inbox.badge).to_have_text("2")
    expect(inbox.bell).to_have_accessible_name("Notifications, 2 unread")
    node.new("u1", "three", body="with a text", category="orders", priority="high", type="warning")
    expect(inbox.badge).to_have_text("3")
    inbox.bell.click()
    expect(inbox.rows).to_have_count(3)
    newest = inbox.rows.first
    for text in ("three", "with a text", "orders", "Urgent"):
        expect(newest).to_contain_text(text)
    expect(newest.get_by_role("img", name="Warning")).to_be_visible()


def test_many_unread_are_shown_as_more_than_99(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", [f"number {number}" for number in range(120)])
    inbox = open_inbox()
    expect(inbox.badge).to_have_text("99+")
    expect(inbox.bell).to_have_accessible_name("Notifications, 120 unread")


def test_read_archive_and_delete(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", ["one", "two", "three"])
    inbox = open_inbox()
    inbox.bell.click()
    inbox.press("Mark as read", "one")
    expect(inbox.badge).to_have_text("2")
    inbox.press("Mark as unread", "one")
    expect(inbox.badge).to_have_text("3")
    inbox.press("Archive", "two")
    expect(inbox.rows).to_have_count(2)
    inbox.press("Delete", "three")
    expect(inbox.rows).to_have_count(2)
    inbox.press("Press again to delete", "three")
    expect(inbox.rows).to_have_count(1)
    inbox.page.get_by_role("button", name="Archived").click()
    expect(inbox.row("two")).to_be_visible()
    inbox.press("Move to inbox", "two")
    expect(inbox.rows).to_have_count(0)
    inbox.page.get_by_role("button", name="All", exact=True).click()
    expect(inbox.rows).to_have_count(2)


def test_delete_asks_once_more_and_forgets_the_question(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", ["one", "two"])
    inbox = open_inbox()
    inbox.bell.click()
    inbox.press("Delete", "two")
    inbox.row("one").focus()
    expect(inbox.row("two").get_by_role("button", name="Delete", exact=True)).to_have_count(1)
    expect(inbox.rows).to_have_count(2)


def test_everything_is_read_at_once(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", ["one", "two", "three"])
    inbox = open_inbox()
    inbox.bell.click()
    inbox.page.get_by_role("button", name="Mark all as read").click()
    expect(inbox.badge).to_have_text("")
    expect(inbox.page.get_by_role("button", name="Mark all as read")).to_be_disabled()
    inbox.page.get_by_role("button", name="Unread", exact=True).click()
    expect(inbox.panel).to_contain_text("You have read everything.")


def test_what_is_read_in_one_tab_is_read_in_the_other(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", ["one", "two"])
    one, two = open_inbox(), open_inbox()
    one.bell.click()
    one.press("Mark as read", "one")
    expect(one.badge).to_have_text("1")
    expect(two.badge).to_have_text("1")
    assert len(node.devices) == 1


def test_what_arrives_is_shown_in_a_toast_once(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    inbox = open_inbox()
    node.new("u1", "Order shipped", body="It is on its way.", type="success")
    expect(inbox.toasts).to_have_count(1)
    expect(inbox.toasts).to_contain_text("It is on its way.")
    inbox.toasts.get_by_role("button", name="Dismiss").click()
    expect(inbox.toasts).to_have_count(0)
    node.cut()
    eventually(lambda: len(node.past) == 2)
    inbox.wait_live()
    expect(inbox.toasts).to_have_count(0)
    node.new("u1", "another")
    expect(inbox.toasts).to_have_count(1)
    inbox.toasts.click()
    expect(inbox.row("another")).to_be_focused()


def test_many_toasts_are_three(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    inbox = open_inbox()
    node.new_many("u1", [f"number {number}" for number in range(7)])
    expect(inbox.badge).to_have_text("7")
    expect(inbox.toasts).to_have_count(3)
    expect(inbox.toasts.last).to_contain_text("number 6")


def test_what_was_missed_is_one_toast(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    inbox = open_inbox()
    node.silenced.add("u1")
    node.new_many("u1", ["one", "two", "three"])
    node.cut()
    expect(inbox.toasts).to_have_text("3 new notifications while you were away")


def test_a_first_visit_shows_no_toast(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", ["one", "two"])
    inbox = open_inbox()
    expect(inbox.badge).to_have_text("2")
    expect(inbox.toasts).to_have_count(0)


def test_a_toast_goes_away_by_itself_unless_somebody_points_at_it(
    node: FakeNode, open_inbox: Callable[..., Inbox]
) -> None:
    inbox = open_inbox()
    inbox.page.clock.install()
    node.new("u1", "stays")
    inbox.toasts.hover()
    inbox.page.clock.fast_forward(60_000)
    expect(inbox.toasts).to_have_count(1)
    inbox.page.mouse.move(0, 0)
    inbox.page.clock.fast_forward(7_000)
    expect(inbox.toasts).to_have_count(0)


def test_older_ones_are_loaded_when_one_scrolls_down(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    ids = node.new_many("u1", [f"number {number}" for number in range(130)])
    node.mark("u1", ids[:100], read=True)
    node.mark("u1", ids[100:], read=True)
    inbox = open_inbox()
    inbox.bell.click()
    expect(inbox.rows).to_have_count(50)

    def at_the_end() -> bool:
        inbox.page.locator("notify-inbox .scroll").evaluate("node => { node.scrollTop = node.scrollHeight; }")
        return inbox.rows.count() == 130

    eventually(at_the_end)
    expect(inbox.rows.last).to_contain_text("number 0")


def test_a_list_that_cannot_be_read_says_so_and_can_be_tried_again(
    node: FakeNode, open_inbox: Callable[..., Inbox]
) -> None:
    old = node.new("u1", "old")
    node.mark("u1", [old], read=True)
    node.new("u1", "unread")
    inbox = open_inbox()
    node.refuse_lists = 503
    inbox.bell.click()
    expect(inbox.panel).to_contain_text("Older notifications cannot be loaded now.")
    expect(inbox.row("unread")).to_be_visible()
    node.refuse_lists = None
    inbox.page.get_by_role("button", name="Try again").click()
    expect(inbox.row("old")).to_be_visible()


def test_a_long_text_can_be_unfolded_and_is_fetched_whole(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    text = "word " * 2_000 + "the end"
    node.new("u1", "long", body=text)
    inbox = open_inbox()
    inbox.bell.click()
    body = inbox.rows.locator(".body")
    assert body.evaluate("node => node.scrollHeight > node.clientHeight")
    inbox.page.get_by_role("button", name="Show more").click()
    expect(body).to_contain_text("the end")
    inbox.page.get_by_role("button", name="Show less").click()
    assert body.evaluate("node => node.clientHeight < 60")


# -- The connection --------------------------------------------------------------------------------------------------


def test_a_lost_connection_is_said_and_what_is_known_stays(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "known")
    inbox = open_inbox()
    inbox.bell.click()
    node.die()
    expect(inbox.panel).to_contain_text("The connection is interrupted.")
    expect(inbox.row("known")).to_be_visible()
    node.new("u1", "missed")
    node.listen()
    expect(inbox.row("missed")).to_be_visible()
    expect(inbox.panel).not_to_contain_text("interrupted")


def test_the_evicted_device_says_so_and_comes_back_at_a_press(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    inbox = open_inbox()
    inbox.bell.click()
    node.close(EVICTED)
    expect(inbox.panel).to_contain_text("Another device is connected instead of this one.")
    inbox.page.get_by_role("button", name="Connect").click()
    expect(inbox.panel).not_to_contain_text("Another device")
    inbox.wait_live()


def test_another_user_begins_with_nothing_of_the_one_before(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "private")
    node.new("u2", "mine")
    inbox = open_inbox()
    inbox.bell.click()
    expect(inbox.row("private")).to_be_visible()
    inbox.page.evaluate("""() => {
      const element = document.querySelector('notify-inbox');
      element.setAttribute('token-url', '/token?user=u2');
      element.setAttribute('user', 'u2');
    }""")
    eventually(lambda: inbox.page.evaluate("document.querySelector('notify-inbox').client?.user === 'u2'"))
    inbox.bell.click()
    expect(inbox.row("mine")).to_be_visible()
    expect(inbox.rows).to_have_count(1)
    eventually(lambda: [device.user for device in node.devices] == ["u2"])


def test_an_element_that_is_removed_closes_its_connection(node: FakeNode, inbox: Inbox) -> None:
    inbox.page.evaluate("document.querySelector('notify-inbox').remove()")
    eventually(lambda: node.devices == [])


# -- Texts of others -------------------------------------------------------------------------------------------------


def test_texts_of_others_are_texts(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    evil = '<img src=x onerror="window.hacked = true"><b>bold</b>'
    node.new("u1", evil, body=evil, category=evil)
    inbox = open_inbox()
    node.new("u1", evil, body=evil)
    expect(inbox.toasts).to_contain_text("<b>bold</b>")
    inbox.bell.click()
    expect(inbox.rows.first).to_contain_text("<b>bold</b>")
    assert inbox.page.locator("notify-inbox b, notify-inbox img").count() == 0
    assert inbox.page.evaluate("window.hacked") is None


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", " JaVaScript:alert(1)", "data:text/html,x", "vbscript:x", "//["]
)
def test_a_link_that_could_run_something_is_no_link(
    node: FakeNode, open_inbox: Callable[..., Inbox], link: str
) -> None:
    node.new("u1", "evil", link=link)
    inbox = open_inbox()
    inbox.bell.click()
    expect(inbox.row("evil")).to_be_visible()
    assert inbox.page.locator("notify-inbox a").count() == 0


def test_a_link_is_followed_and_marks_as_read(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "order", link="/blank#order")
    inbox = open_inbox()
    inbox.page.evaluate("""() => document.addEventListener('notify-open', (event) => {
      window.opened = event.detail.row.title;
      event.preventDefault();
    })""")
    inbox.bell.click()
    inbox.page.get_by_role("link", name="order").click()
    expect(inbox.badge).to_have_text("")
    assert inbox.page.evaluate("window.opened") == "order"
    assert "/page" in inbox.page.url, "the application has taken the event"
