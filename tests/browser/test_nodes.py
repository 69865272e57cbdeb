"""Tests that browsers on two nodes of the product stay equal to the store while one of the nodes is killed."""

from __future__ import annotations

import random
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from playwright.sync_api import BrowserContext, Page

from shared.metrics import Metrics
from shared.realtime.wakeup import ThreadedWakeUps
from shared.store.store import Store
from shared.store.values import Change, Filter, Owner
from tests.browser.conftest import blank_page
from tests.support.fakes.node import FakeNode
from tests.support.peers.balancer import balancer
from tests.support.realtime.node_process import NodeProcess
from tests.support.realtime.stage import token
from tests.support.stores import Databases, check_inboxes, new
from tests.support.waiting import eventually

OWNER = Owner("u1")
_START = """async ({node, token}) => {
  const { NotifyClient } = await import('/notify-inbox.js');
  window.seen = [];
  window.resets = window.losses = 0;
  window.client = new NotifyClient({user: 'u1', node, token});
  client.addEventListener('notification', ({detail}) => seen.push(detail.row.id));
  client.addEventListener('missed', ({detail}) => seen.push(...detail.fresh.map((row) => row.id)));
  client.addEventListener('reset', () => { resets += 1; });
  client.addEventListener('status', ({detail}) => { losses += detail.state === 'waiting'; });
  client.start();
}"""
_SHOWN = "() => client.items.map((row) => [row.id, row.read_at !== null])"


class World:
    """Holds two nodes behind a balancer, and writes to the inbox that they show. ``pages`` has the module."""

    def __init__(
        self, nodes: Sequence[NodeProcess], port: int, store: Store, wake_ups: ThreadedWakeUps, pages: FakeNode
    ) -> None:
        self.nodes, self.port, self.store, self._wake_ups, self._pages = nodes, port, store, wake_ups, pages
        self._written = 0

    def open(self, context: BrowserContext) -> Page:
        """Opens a page of a browser of its own, and waits until it is connected."""
        page = blank_page(context, self._pages)
        page.evaluate(_START, {"node": f"ws://127.0.0.1:{self.port}/ws", "token": token("u1")})

        def live() -> bool:
            status = page.evaluate("client.status")
            assert status["state"] == "live", status
            return True

        eventually(live)
        return page

    def write(self, count: int) -> None:
        """Adds notifications, and reads or deletes some, one transaction after the other."""
        for _ in range(count):
            self._written += 1
            self._tell(*self.store.insert([new("u1", f"r{self._written}")]).changes)
            if self._written % 3 == 0:
                id_ = random.choice(self.store.page(OWNER, limit=5).items).id
                if self._written % 2:
                    self._tell(self.store.delete(OWNER, [id_]))
                else:
                    self._tell(self.store.mark(OWNER, [id_], read=True))

    def is_shown_by(self, page: Page) -> bool:
        """Tells whether the page shows exactly what the store has."""
        rows = self.store.page(OWNER, Filter("all"), limit=1_000)
        shown = [tuple(row) for row in page.evaluate(_SHOWN)]
        return shown == [(row.id, row.read_ms is not None) for row in rows.items] and (
            page.evaluate("client.unread") == rows.unread
        )

    def _tell(self, *changes: Change | None) -> None:
        self._wake_ups.publish([change for change in changes if change is not None])


@pytest.fixture
def world(databases: Databases, redis_url: str, tmp_path: Path, node: FakeNode) -> Iterator[World]:
    with ExitStack() as stack:
        url = stack.enter_context(databases.empty("sqlite"))
        store = Store(url)
        stack.callback(store.close)
        client = stack.enter_context(redis.Redis.from_url(redis_url))
        settings = {"DATABASE_URL": url, "REDIS_URL": redis_url, "POSITION_CHECK_S": "1"}
        nodes = [NodeProcess(tmp_path, f"node{number}", **settings) for number in range(2)]
        for one in nodes:
            stack.callback(one.kill)
        for one in nodes:
            eventually(lambda: _is_ready(one), 30)  # noqa: B023
        port = stack.enter_context(balancer([one.port for one in nodes]))
        yield World(nodes, port, store, ThreadedWakeUps(client, Metrics().wakeups_failed), node)


def _is_ready(node: NodeProcess) -> bool:
    assert node.process.poll() is None, node.log.read_text()[-2000:]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.port}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def test_two_browsers_stay_equal_to_the_store_while_a_node_is_killed(
    new_context: Callable[..., BrowserContext], world: World
) -> None:
    world.write(5)
    # The policy of the pages allows only their own server. The balancer takes turns, so each has a node of its own.
    pages = [world.open(new_context(bypass_csp=True)) for _ in range(2)]
    world.write(60)
    world.nodes[0].kill()
    world.write(60)
    for page in pages:
        eventually(lambda: world.is_shown_by(page), 20)  # noqa: B023
    world.write(20)
    for page in pages:
        eventually(lambda: world.is_shown_by(page))  # noqa: B023
        seen = page.evaluate("seen")
        assert len(seen) == len(set(seen)), "a toast was shown twice"
        assert page.evaluate("resets") == 1, "only the first load replaced everything"
    assert sorted(page.evaluate("losses > 0") for page in pages) == [False, True], "one of them was on that node"
    assert [page.evaluate("client.status.transport") for page in pages] == ["socket", "socket"]
    check_inboxes(world.store)
