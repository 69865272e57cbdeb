"""Tests how NotifyClient comes by its tokens, and what it does when one is refused."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from shared.realtime.close_codes import BAD_TOKEN, TOKEN_EXPIRED
from tests.browser.clients import Client, start
from tests.support.fakes.node import FakeNode
from tests.support.waiting import eventually


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


def test_a_page_without_a_user_is_asked_once(page: Page, node: FakeNode) -> None:
    page.clock.install()
    page.evaluate("""async () => {
      const { NotifyClient, NotSignedIn } = await import('/notify-inbox.js');
      window.asked = 0;
      const token = async () => { asked += 1; throw new NotSignedIn('log in first'); };
      window.client = new NotifyClient({user: 'u1', node: `ws://${location.host}/ws`, token}).start();
    }""")
    status = Client(page).wait("closed")
    assert (status["code"], status["reason"]) == (BAD_TOKEN.code, "log in first")
    page.clock.fast_forward(120_000)
    assert page.evaluate("asked") == 1
    assert node.attempts == 0


def test_a_connection_and_a_list_ask_for_one_token_together(page: Page, node: FakeNode) -> None:
    asked = page.evaluate("""async () => {
      const { NotifyClient } = await import('/notify-inbox.js');
      let asked = 0;
      const token = async () => { asked += 1; return 'token-of-u1'; };
      const [node, api] = [`ws://${location.host}/ws`, location.origin];
      window.client = new NotifyClient({user: 'u1', node, api, token, share: false});
      client.connect();
      await Promise.all([client.list(), client.list()]);
      return asked;
    }""")
    Client(page).wait()
    assert asked == 1


def test_a_fixed_token_is_shown_to_the_server_before_the_old_one_ends(page: Page, node: FakeNode) -> None:
    client = start(page, token="token-of-u1")
    client.wait()
    page.evaluate("client.setToken('token-of-u1#2')")
    (again,) = eventually(lambda: [frame for frame in node.past[0].received if frame["type"] == "auth"][1:])
    assert again["token"] == "token-of-u1#2"
    assert len(node.past) == 1


def test_a_fixed_token_that_was_replaced_in_time_is_used_after_the_end_of_the_old_one(
    page: Page, node: FakeNode
) -> None:
    node.refuse_sockets = 403
    client = start(page, token="token-of-u1")
    assert client.wait()["transport"] == "sse"
    # A stream of events cannot be told.
    page.evaluate("client.setToken('token-of-u1#2')")
    node.close(TOKEN_EXPIRED)
    eventually(lambda: len(node.past) == 2)
    client.wait()
    assert node.past[1].token == "token-of-u1#2"


def test_a_list_that_is_never_answered_fails(page: Page, node: FakeNode) -> None:
    page.route("**/users/**", lambda route: None)
    client = start(page, timing={"changeMs": 200})
    client.wait()
    answer = page.evaluate("""() => Promise.race([
      client.list().then(() => 'done', (error) => error.name),
      new Promise((resolve) => setTimeout(resolve, 10_000, 'no answer at all')),
    ])""")
    assert answer == "TimeoutError"
