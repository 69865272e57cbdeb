"""Tests the demo page: two users side by side, what is sent, what is missed, and the sixth device."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.support.fakes.node import FakeNode


class Demo:
    """Is the page. Its gateway is the test: what is sent goes to the node at once."""

    def __init__(self, page: Page, node: FakeNode) -> None:
        self.page, self._node = page, node
        node.open = True
        page.route(f"{node.url}/notifications**", self._accept)
        page.goto(f"{node.url}/demo/")

    def user(self, name: str) -> Locator:
        return self.page.locator("section").filter(has=self.page.get_by_role("heading", name=name))

    def device(self, user: str, number: int) -> Locator:
        return self.user(user).locator(".device").filter(has_text=f"Device {number}")

    def send(self, title: str, to: str = "user_id1", count: str = "1") -> None:
        self.page.locator("select[name=to]").select_option(to)
        self.page.get_by_label("Title").fill(title)
        self.page.get_by_label("How many").select_option(count)
        self.page.get_by_role("button", name="Send").click()
        expect(self.page.locator("output")).to_contain_text("accepted")

    def _accept(self, route: Route) -> None:
        sent: Any = route.request.post_data_json
        envelopes = sent if isinstance(sent, list) else [sent]
        for envelope in envelopes:
            fields = {"type": envelope["type"], "priority": envelope["priority"]}
            self._node.new(envelope["user_id"], envelope["content"]["title"], **fields)
        route.fulfill(status=202, json={"results": [{"status": 202} for _ in envelopes]})


@pytest.fixture
def demo(context: BrowserContext, node: FakeNode) -> Demo:
    return Demo(context.new_page(), node)


def test_what_is_sent_to_one_user_arrives_on_each_of_his_devices(demo: Demo) -> None:
    for user in ("user_id1", "user_id2"):
        expect(demo.device(user, 1).locator(".light")).to_have_attribute("data-state", "live")
    demo.user("user_id1").get_by_role("button", name="Add a device").click()
    expect(demo.device("user_id1", 2)).to_contain_text("live, over a socket")
    demo.send("Order shipped")
    for number in (1, 2):
        expect(demo.device("user_id1", number).locator(".badge")).to_have_text("1")
    expect(demo.user("user_id1").locator(".log")).to_contain_text("live: Order shipped")
    expect(demo.device("user_id2", 1).locator(".badge")).to_have_text("")
    demo.send("For both", to="")
    expect(demo.device("user_id2", 1).locator(".badge")).to_have_text("1")


def test_what_was_missed_is_shown_when_a_device_comes_back(demo: Demo) -> None:
    device = demo.device("user_id1", 1)
    expect(device).to_contain_text("live")
    device.get_by_role("button", name="Disconnect").click()
    expect(device).to_contain_text("disconnected")
    expect(device.locator(".light")).to_have_attribute("data-state", "closed")
    demo.send("Missed", count="3")
    expect(device.locator(".badge")).to_have_text("")
    device.get_by_role("button", name="Connect").click()
    expect(demo.user("user_id1").locator(".log")).to_contain_text(
        "missed 3 changes, 3 of them new: Missed 1, Missed 2, Missed 3"
    )
    expect(device.locator(".badge")).to_have_text("3")


def test_the_sixth_device_ends_the_first(demo: Demo) -> None:
    add = demo.user("user_id1").get_by_role("button", name="Add a device")
    for number in range(2, 7):
        add.click()
        expect(demo.device("user_id1", number)).to_contain_text("live")
    expect(demo.device("user_id1", 1)).to_contain_text("evicted by a newer connection (4505)")
    demo.device("user_id1", 1).get_by_role("button", name="Connect").click()
    expect(demo.device("user_id1", 1)).to_contain_text("live")
    expect(demo.device("user_id1", 2)).to_contain_text("evicted")


def test_a_refusal_of_the_gateway_is_shown(demo: Demo) -> None:
    problem = {"detail": "the broker does not answer"}
    demo.page.route("**/notifications", lambda route: route.fulfill(status=503, json=problem))
    demo.page.get_by_role("button", name="Send").click()
    expect(demo.page.locator("output")).to_have_text("Not sent: the broker does not answer")
    expect(demo.page.get_by_role("button", name="Send")).to_be_enabled()
