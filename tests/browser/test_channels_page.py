"""Tests the page of channels with a real gateway, a real node and a real Redis: send, watch live, history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.realtime.node_process import NodeProcess
from tests.support.stores import Databases
from tests.support.waiting import eventually


def is_ready(node: NodeProcess) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{node.port}/health/ready", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture
def gateway(tmp_path: Path, databases: Databases, redis_url: str, vhost_url: str) -> Iterator[GatewayProcess]:
    """Yields a gateway beside a node that asks for no tokens."""
    with databases.empty("sqlite") as url:
        node = NodeProcess(
            tmp_path, "node", REDIS_URL=redis_url, DATABASE_URL=url, SOCKET_TOKEN_KEYS="", SOCKET_AUTH="open"
        )
        try:
            with gateway_process(
                tmp_path, vhost_url, redis_url, SOCKET_PORT=str(node.port), DATABASE_URL=url, SOCKET_AUTH="open"
            ) as made:
                eventually(lambda: is_ready(node), 20)
                yield made
        finally:
            node.kill()


@pytest.fixture
def channels(page: Page, gateway: GatewayProcess) -> Page:
    page.goto(f"{gateway.url}/demo/channels.html")
    expect(page.locator("#live .light")).to_have_attribute("data-state", "live")
    return page


def counts(page: Page, channel: str) -> list[str]:
    row = page.locator("#live tbody tr").filter(has_text=channel)
    return [cell.strip() for cell in row.locator("td").all_inner_texts()[1:]]


def send(page: Page, channel: str, priority: str, message: str) -> None:
    page.locator("#send [name=channel]").fill(channel)
    page.locator("#send [name=priority]").select_option(priority)
    page.locator("#send [name=message]").fill(message)
    page.locator("#send button").click()
    expect(page.locator("#send output")).to_contain_text("Sent at")


def test_what_is_sent_is_shown_live_and_the_counts_move(channels: Page) -> None:
    send(channels, "channel1", "high", "Server is down!")
    expect(channels.locator("#live .log")).to_contain_text("Server is down!")
    send(channels, "channel1", "low", "<b>Server is up.</b>")
    expect(channels.locator("#live .log")).to_contain_text("<b>Server is up.</b>")
    assert counts(channels, "channel1") == ["1", "0", "1", "2"]


def test_several_channels_are_watched_over_one_connection(channels: Page) -> None:
    channels.get_by_label("Channel to watch").fill("news.sport")
    channels.get_by_role("button", name="Watch").click()
    expect(channels.locator("#live tbody tr")).to_have_count(2)
    expect(channels.locator("#live tbody tr").nth(1)).not_to_contain_text("...")
    send(channels, "news.sport", "medium", "Goal!")
    expect(channels.locator("#live .log")).to_contain_text("Goal!")
    assert counts(channels, "news.sport") == ["0", "1", "0", "1"]
    assert counts(channels, "channel1") == ["0", "0", "0", "0"]


def test_the_history_is_shown_by_priority(channels: Page) -> None:
    send(channels, "channel1", "high", "first")
    send(channels, "channel1", "low", "second")
    channels.get_by_role("button", name="Get").click()
    expect(channels.locator("#history .kept")).to_have_text("kept: 1 high, 0 medium, 1 low; sent in all: 2")
    expect(channels.locator("#history .log li")).to_have_count(2)
    channels.get_by_label("Priority").last.select_option("high")
    channels.get_by_role("button", name="Get").click()
    expect(channels.locator("#history .log li")).to_have_count(1)
    expect(channels.locator("#history .log")).to_contain_text("first")


def test_what_cannot_be_sent_is_said(channels: Page) -> None:
    channels.locator("#send [name=channel]").fill("a b")
    channels.locator("#send button").click()
    expect(channels.locator("#send output")).to_contain_text("Not sent: channel:")
