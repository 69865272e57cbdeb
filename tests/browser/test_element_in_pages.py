"""Tests ``<notify-inbox>`` in the hands of pages: what they set, when they set it, and where they put it."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from shared.realtime.close_codes import EVICTED
from tests.browser.elements import Inbox
from tests.support.fakes.node import FakeNode
from tests.support.waiting import eventually


def test_what_a_page_sets_before_the_module_is_there_holds(page: Page, node: FakeNode) -> None:
    node.new("u1", "one")
    page.evaluate("""async () => {
      document.body.innerHTML = `<notify-inbox user="u1" node="ws://${location.host}/ws"></notify-inbox>`;
      const element = document.querySelector('notify-inbox');
      element.getToken = async () => 'token-of-u1';
      element.labels = {bell: (unread) => `${unread} neue`};
      await import('/notify-inbox.js');
    }""")
    expect(Inbox(page).bell).to_have_accessible_name("1 neue")


def test_another_function_for_tokens_does_not_interrupt_the_connection(node: FakeNode, inbox: Inbox) -> None:
    """Frameworks set a new function whenever they draw."""
    inbox.page.evaluate("""async () => {
      const element = document.querySelector('notify-inbox');
      for (let number = 0; number < 5; number += 1) {
        element.getToken = () => { window.used = number; return 'token-of-u1#later'; };
        await new Promise((resolve) => setTimeout(resolve));
      }
    }""")
    node.cut()
    eventually(lambda: len(node.past) == 2)
    inbox.wait_live()
    assert inbox.page.evaluate("used") == 4
    assert node.past[1].token == "token-of-u1#later"


def test_an_element_that_is_moved_keeps_its_connection_and_its_list(
    node: FakeNode, open_inbox: Callable[..., Inbox]
) -> None:
    node.new("u1", "one")
    inbox = open_inbox()
    inbox.bell.click()
    expect(inbox.row("one")).to_be_visible()
    inbox.page.evaluate("""() => {
      const place = document.createElement('header');
      document.body.append(place);
      place.append(document.querySelector('notify-inbox'));
    }""")
    node.new("u1", "two")
    expect(inbox.row("two")).to_be_visible()
    assert inbox.panel.evaluate("panel => panel.matches(':popover-open')"), "it is above everything else again"
    assert len(node.past) == 1


def test_a_user_whose_session_is_over_is_told_and_not_asked_for_again_and_again(
    node: FakeNode, open_inbox: Callable[..., Inbox]
) -> None:
    inbox = open_inbox()
    node.signed_out = True
    inbox.page.clock.install()
    node.close(EVICTED)
    inbox.bell.click()
    inbox.page.get_by_role("button", name="Connect").click()
    expect(inbox.panel).to_contain_text("Sign in again.")
    asked = node.tokens_given
    inbox.page.clock.fast_forward(120_000)
    assert node.tokens_given == asked
    node.signed_out = False
    inbox.page.get_by_role("button", name="Connect").click()
    inbox.wait_live()


def test_many_changes_at_once_are_drawn_once(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", ["one", "two"])
    inbox = open_inbox()
    inbox.bell.click()
    expect(inbox.rows).to_have_count(2)
    drawn = inbox.page.evaluate("""async () => {
      const { shadowRoot, client } = document.querySelector('notify-inbox');
      let drawn = 0;
      new MutationObserver(() => { drawn += 1; }).observe(shadowRoot.querySelector('.bell'), {attributes: true});
      for (let number = 0; number < 100; number += 1) {
        client.dispatchEvent(new CustomEvent('change'));
        await scheduler.yield();
      }
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      return drawn;
    }""")
    assert 0 < drawn < 50


def test_a_thousand_notifications_are_scrolled_through(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", [f"number {number}" for number in range(1_000)])
    inbox = open_inbox()
    expect(inbox.badge).to_have_text("99+")
    inbox.bell.click()
    expect(inbox.rows).to_have_count(50)

    def at_the_end() -> bool:
        inbox.page.locator("notify-inbox .scroll").evaluate("node => { node.scrollTop = node.scrollHeight; }")
        return inbox.rows.count() == 1_000

    eventually(at_the_end, 20)
    expect(inbox.rows.last).to_contain_text("number 0")
    node.new("u1", "the newest")
    expect(inbox.rows.first).to_contain_text("the newest")
    expect(inbox.rows.first).to_have_attribute("aria-posinset", "1")
