"""Tests that everybody can use ``<notify-inbox>``: with the keyboard, with a screen reader, in every language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.elements import Inbox
from tests.support.fakes.node import FakeNode


def test_everything_can_be_done_with_the_keyboard(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", ["one", "two", "three"])
    inbox = open_inbox()
    keyboard = inbox.page.keyboard
    keyboard.press("Tab")
    expect(inbox.bell).to_be_focused()
    keyboard.press("Enter")
    expect(inbox.panel).to_be_visible()
    assert inbox.focused() == "Notifications"
    expect(inbox.bell).to_have_attribute("aria-expanded", "true")
    keyboard.press("ArrowDown")
    expect(inbox.row("three")).to_be_focused()
    keyboard.press("ArrowDown")
    expect(inbox.row("two")).to_be_focused()
    keyboard.press("r")
    expect(inbox.badge).to_have_text("2")
    expect(inbox.row("two")).to_be_focused()
    keyboard.press("e")
    expect(inbox.rows).to_have_count(2)
    expect(inbox.row("one")).to_be_focused()
    keyboard.press("Home")
    expect(inbox.row("three")).to_be_focused()
    keyboard.press("Delete")
    keyboard.press("Delete")
    expect(inbox.rows).to_have_count(1)
    keyboard.press("Escape")
    expect(inbox.panel).to_be_hidden()
    expect(inbox.bell).to_be_focused()


def test_the_tab_key_stops_once_in_a_list_of_any_length(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new_many("u1", [f"number {number}" for number in range(40)])
    inbox = open_inbox()
    inbox.bell.click()
    expect(inbox.rows).to_have_count(40)
    reachable = inbox.page.evaluate(
        "() => [...document.querySelector('notify-inbox').shadowRoot.querySelectorAll('.row, .row *')]"
        ".filter((node) => node.tabIndex === 0 && !node.hidden).length"
    )
    assert reachable == 4, "one row, with its three buttons"


def test_a_screen_reader_is_told_the_roles_and_what_arrives(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "one", type="error", body="what happened")
    inbox = open_inbox()
    inbox.bell.click()
    page = inbox.page
    expect(page.get_by_role("dialog", name="Notifications")).to_be_visible()
    expect(page.get_by_role("feed", name="Notifications")).to_be_visible()
    row = page.get_by_role("article", name="Error one Unread", exact=True)
    expect(row).to_have_accessible_description("what happened")
    expect(row).to_have_attribute("aria-posinset", "1")
    expect(row).to_have_attribute("aria-setsize", "1")
    inbox.press("Mark as read", "one")
    expect(page.get_by_role("article", name="Error one", exact=True)).to_be_visible()
    status = page.locator("notify-inbox [role=status]")
    expect(status).to_have_text("")
    node.new("u1", "two")
    expect(status).to_have_text("New notification: two")
    node.new_many("u1", ["three", "four"])
    expect(status).to_have_text("2 new notifications")


def test_the_panel_stays_in_the_window_on_every_side(
    node: FakeNode, new_context: Callable[..., BrowserContext]
) -> None:
    node.new_many("u1", [f"number {number}" for number in range(30)])
    for size in ({"width": 1280, "height": 800}, {"width": 360, "height": 640}):
        page = new_context(viewport=size).new_page()
        for direction in ("ltr", "rtl"):
            page.goto(f"{node.url}/page?user=u1&dir={direction}")
            for place in ("left:8px;top:8px", "right:8px;top:8px", "left:8px;bottom:8px", "right:8px;bottom:8px"):
                page.evaluate(
                    "place => { const e = document.querySelector('notify-inbox');"
                    " e.style.cssText = `position:fixed;${place}`; }",
                    place,
                )
                page.locator("notify-inbox .bell").click()
                expect(page.get_by_role("article")).not_to_have_count(0)
                box: Any = page.get_by_role("dialog").bounding_box()
                assert box["x"] >= 0, (size, direction, place)
                assert box["y"] >= 0, (size, direction, place)
                assert box["x"] + box["width"] <= size["width"], (size, direction, place)
                assert box["y"] + box["height"] <= size["height"], (size, direction, place)
                page.keyboard.press("Escape")


def test_right_to_left_mirrors_the_rows(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "تم شحن طلبك", body="سيصل طلبك غدًا.")
    for direction, is_first in (("ltr", True), ("rtl", False)):
        inbox = open_inbox(dir=direction)
        inbox.bell.click()
        kind: Any = inbox.rows.locator(".kind").bounding_box()
        title: Any = inbox.rows.locator(".title").bounding_box()
        assert (kind["x"] < title["x"]) is is_first


def test_words_can_be_replaced(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "one")
    inbox = open_inbox(lang="de")
    inbox.page.evaluate("""() => {
      document.querySelector('notify-inbox').labels = {
        title: 'Nachrichten', bell: (n) => `Nachrichten, ${n} ungelesen`, unread: 'Ungelesen', read: 'Gelesen',
      };
    }""")
    expect(inbox.bell).to_have_accessible_name("Nachrichten, 1 ungelesen")
    inbox.bell.click()
    expect(inbox.panel).to_contain_text("Nachrichten")
    expect(inbox.panel).to_contain_text("Ungelesen (1)")
    expect(inbox.rows.get_by_role("button", name="Gelesen")).to_have_count(1)
    expect(inbox.rows.locator("time")).to_have_text("jetzt")


def test_less_motion_means_none(node: FakeNode, new_context: Callable[..., BrowserContext]) -> None:
    for motion, names in (("no-preference", "appear"), ("reduce", "none")):
        page = new_context(reduced_motion=motion).new_page()
        page.goto(f"{node.url}/page?user=u1")
        page.locator("notify-inbox .bell").click()
        assert page.get_by_role("dialog").evaluate("node => getComputedStyle(node).animationName") == names


def test_dark_and_light_follow_the_system_or_the_attribute(
    node: FakeNode, new_context: Callable[..., BrowserContext]
) -> None:
    def surface(scheme: str, theme: str) -> str:
        page = new_context(color_scheme=scheme).new_page()
        page.goto(f"{node.url}/page?user=u1{theme}")
        page.locator("notify-inbox .bell").click()
        found: str = page.get_by_role("dialog").evaluate("node => getComputedStyle(node).backgroundColor")
        return found

    assert surface("light", "") == surface("dark", "&theme=light") == "rgb(255, 255, 255)"
    assert surface("dark", "") == surface("light", "&theme=dark") == "rgb(23, 30, 39)"


def test_the_tab_key_goes_round_in_the_panel(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "one")
    inbox = open_inbox()
    inbox.page.evaluate("document.body.append(document.createElement('button'))")
    inbox.bell.click()
    expect(inbox.rows).to_have_count(1)
    keyboard = inbox.page.keyboard
    keyboard.press("Shift+Tab")
    expect(inbox.row("one").get_by_role("button", name="Delete")).to_be_focused()
    keyboard.press("Tab")
    expect(inbox.page.get_by_role("button", name="Mark all as read")).to_be_focused()
    for _ in range(9):
        keyboard.press("Tab")
    expect(inbox.page.get_by_role("button", name="Mark all as read")).to_be_focused()


def test_the_keys_go_on_working_after_a_press_beside_the_buttons(inbox: Inbox) -> None:
    inbox.bell.click()
    inbox.page.get_by_text("There are no notifications yet.").click()
    inbox.page.keyboard.press("Escape")
    expect(inbox.panel).to_be_hidden()
    expect(inbox.bell).to_be_focused()


def test_the_keys_go_on_working_after_everything_was_read(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "one")
    inbox = open_inbox()
    inbox.bell.click()
    inbox.page.get_by_role("button", name="Mark all as read").focus()
    inbox.page.keyboard.press("Enter")
    expect(inbox.badge).to_have_text("")
    inbox.page.keyboard.press("Escape")
    expect(inbox.panel).to_be_hidden()


def test_the_focus_stays_at_the_end_of_the_list_while_it_grows(
    node: FakeNode, open_inbox: Callable[..., Inbox]
) -> None:
    ids = node.new_many("u1", [f"number {number}" for number in range(120)])
    node.mark("u1", ids, read=True)
    inbox = open_inbox()
    # Nothing is loaded by scrolling, as where a screen reader does not scroll.
    inbox.page.evaluate("""() => {
      const { shadowRoot } = document.querySelector('notify-inbox');
      shadowRoot.addEventListener('scroll', (event) => event.stopPropagation(), {capture: true});
    }""")
    inbox.bell.click()
    expect(inbox.rows).to_have_count(50)
    older = inbox.page.get_by_role("button", name="Show older ones")
    older.focus()
    for count in (100, 120):
        inbox.page.keyboard.press("Enter")
        expect(inbox.rows).to_have_count(count)
    expect(older).to_be_hidden()
    assert inbox.focused().startswith("number"), "the focus is on a row, not lost"


def test_a_question_and_a_failure_are_read_out(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "one")
    inbox = open_inbox()
    status = inbox.page.locator("notify-inbox [role=status]")
    inbox.bell.click()
    inbox.press("Delete", "one")
    expect(status).to_have_text("Press again to delete")
    node.errors = ["invalid"]
    inbox.press("Press again to delete", "one")
    expect(status).to_have_text("This could not be saved. Try again.")
    expect(inbox.panel).to_contain_text("This could not be saved.")
    inbox.page.keyboard.press("Escape")
    inbox.bell.click()
    expect(inbox.panel).not_to_contain_text("This could not be saved.")


def test_with_the_keyboard_one_goes_from_toast_to_toast(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    inbox = open_inbox()
    node.new_many("u1", ["one", "two"])
    expect(inbox.toasts).to_have_count(2)
    inbox.toasts.first.get_by_role("button", name="one").focus()
    inbox.page.keyboard.press("Escape")
    expect(inbox.toasts).to_have_count(1)
    expect(inbox.toasts.get_by_role("button", name="two")).to_be_focused()
    inbox.page.keyboard.press("Escape")
    expect(inbox.toasts).to_have_count(0)
    expect(inbox.bell).to_be_focused()


@pytest.mark.parametrize("language", ["en_US", "x", "ar", "zh-Hant-TW"])
def test_every_language_of_a_page_shows_times(node: FakeNode, open_inbox: Callable[..., Inbox], language: str) -> None:
    """A page may name a language that there is not."""
    node.new("u1", "one")
    inbox = open_inbox(lang=language)
    inbox.bell.click()
    expect(inbox.row("one").locator("time")).not_to_have_text("")


def test_times_follow_the_language_at_once(node: FakeNode, open_inbox: Callable[..., Inbox]) -> None:
    node.new("u1", "one")
    inbox = open_inbox(lang="en")
    inbox.bell.click()
    expect(inbox.row("one").locator("time")).to_have_text("now")
    inbox.page.evaluate("document.querySelector('notify-inbox').setAttribute('lang', 'de')")
    expect(inbox.row("one").locator("time")).to_have_text("jetzt")


@pytest.mark.parametrize("width", [320, 1280])
def test_the_longest_words_stay_within_the_rows(
    node: FakeNode, new_context: Callable[..., BrowserContext], width: int
) -> None:
    word = "Donaudampfschifffahrt" * 20
    node.new("u1", word, body=word, category="c" * 64, priority="high")
    page = new_context(viewport={"width": width, "height": 700}).new_page()
    page.goto(f"{node.url}/page?user=u1")
    inbox = Inbox(page)
    inbox.wait_live()
    inbox.bell.click()
    expect(inbox.rows).to_have_count(1)
    outside = page.evaluate("""() => {
      const { shadowRoot } = document.querySelector('notify-inbox');
      const panel = shadowRoot.querySelector('.panel').getBoundingClientRect();
      return [...shadowRoot.querySelectorAll('.row, .row *')].filter((one) => {
        const {left, right} = one.getBoundingClientRect();
        return one.checkVisibility() && (left < panel.left || right > panel.right);
      }).map((one) => one.className);
    }""")
    assert outside == []
    node.new("u1", word, body=word)
    inbox.page.keyboard.press("Escape")
    node.new("u1", word, body=word)
    box: Any = inbox.toasts.last.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
