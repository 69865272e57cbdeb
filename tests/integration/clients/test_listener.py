"""Tests the listening half of the Python client against a node that fails in every way."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from notify_client import (
    Arrived,
    Changed,
    ChangeFailed,
    Closed,
    Connected,
    Disconnected,
    Event,
    Listener,
    Missed,
    Position,
)
from notify_client import listener as listening
from notify_client.reconnect import Backoff
from shared.realtime.close_codes import (
    BAD_TOKEN,
    EVICTED,
    INTERNAL,
    OVERLOADED,
    RESTART,
    REVOKED,
    TOKEN_EXPIRED,
    CloseCode,
)
from tests.support.fakes.node import FakeNode, fake_node
from tests.support.stores import Databases
from tests.support.waiting import eventually_async

CLIENT = Path(__file__).parents[3] / "clients" / "python"


@pytest.fixture
def node(databases: Databases) -> Iterator[FakeNode]:
    with databases.empty("sqlite") as url, fake_node(url) as made:
        yield made


class Soon(Backoff):
    """Waits for a hundredth of the usual time."""

    def next_s(self) -> float:
        return super().next_s() / 100


def device(node: FakeNode, token: Any = "token-of-u1", **more: Any) -> Listener:
    return Listener(f"ws://127.0.0.1:{node.port}/ws", token=token, backoff=Soon(), **more)


async def next_of(listener: Listener, kind: type[Event], deadline_s: float = 10.0) -> Any:
    """Returns the next event of this kind; skips others."""
    async with asyncio.timeout(deadline_s):
        while True:
            event = await anext(listener)
            if isinstance(event, kind):
                return event


async def off_loop(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls what waits for the node's thread."""
    return await asyncio.to_thread(call, *args, **kwargs)


async def test_it_loads_and_then_hears_everything(node: FakeNode) -> None:
    await off_loop(node.new_many, "u1", ["one", "two", "three"])
    async with device(node) as listener:
        loaded = await next_of(listener, Missed)
        assert ([row.title for row in loaded.rows], loaded.recovered, loaded.unread) == (
            ["one", "two", "three"],
            False,
            3,
        )
        await next_of(listener, Connected)
        await off_loop(node.new, "u1", "four")
        arrived = await next_of(listener, Arrived)
        assert (arrived.row.title, arrived.unread, arrived.is_new) == ("four", 4, True)
        assert arrived.row.created_at.tzinfo is not None


async def test_it_resumes_and_gets_what_it_missed(node: FakeNode) -> None:
    first = await off_loop(node.new, "u1", "before")
    async with device(node) as listener:
        await next_of(listener, Connected)
        node.silenced.add("u1")
        await off_loop(node.new, "u1", "missed")
        await off_loop(node.mark, "u1", [first], read=True)
        await off_loop(node.cut)
        lost = await next_of(listener, Disconnected)
        assert lost.code == 1006
        missed = await next_of(listener, Missed)
        assert ([row.title for row in missed.new], missed.recovered, missed.unread) == (["missed"], True, 1)
        assert node.past[1].resume is not None
        assert node.past[1].resume.offset == 1


async def test_a_gap_makes_it_connect_again(node: FakeNode) -> None:
    await off_loop(node.new, "u1", "before")
    async with device(node) as listener:
        await next_of(listener, Connected)
        node.silenced.add("u1")
        await off_loop(node.new, "u1", "nobody is told of this")
        node.silenced.discard("u1")
        await off_loop(node.new, "u1", "two")
        assert (await next_of(listener, Disconnected)).reason == "a change was missed"
        missed = await next_of(listener, Missed)
        assert [row.title for row in missed.new] == ["nobody is told of this", "two"]


async def test_the_position_survives_a_restart_and_moves_with_what_was_handled(node: FakeNode, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    await off_loop(node.new, "u1", "before")
    async with device(node, state=state) as listener:
        await next_of(listener, Connected)
        await off_loop(node.new_many, "u1", ["handled", "not handled"])
        assert (await next_of(listener, Arrived)).row.title == "handled"
        # Asking for the second says that the first has been handled; it dies before it asks for a third.
        assert (await next_of(listener, Arrived)).row.title == "not handled"
    async with device(node, state=state) as listener:
        missed = await next_of(listener, Missed)
        assert [row.title for row in missed.rows] == ["not handled"]
        assert missed.recovered
        assert missed.unread == 3


@pytest.mark.parametrize("code", [INTERNAL, RESTART, OVERLOADED], ids=lambda code: str(code.code))
async def test_it_comes_back_after(node: FakeNode, code: CloseCode) -> None:
    async with device(node) as listener:
        await next_of(listener, Connected)
        await off_loop(node.close, code)
        lost = await next_of(listener, Disconnected)
        assert (lost.code, lost.reason) == (code.code, code.reason)
        await next_of(listener, Connected)


async def test_it_waits_as_long_as_the_server_said(node: FakeNode) -> None:
    async with device(node) as listener:
        await next_of(listener, Connected)
        await off_loop(node.close, RESTART, after_ms=321)
        assert (await next_of(listener, Disconnected)).retry_s == 0.321
        await next_of(listener, Connected)


@pytest.mark.parametrize("code", [BAD_TOKEN, EVICTED, REVOKED], ids=lambda code: str(code.code))
async def test_it_stays_away_after_and_says_so(node: FakeNode, code: CloseCode) -> None:
    async with device(node) as listener:
        await next_of(listener, Connected)
        await off_loop(node.close, code)
        with pytest.raises(Closed) as closed:
            await next_of(listener, Arrived)
        assert closed.value.code == code.code
        with pytest.raises(Closed):
            await anext(listener)
    assert len(node.past) == 1


async def test_an_expired_token_is_replaced(node: FakeNode) -> None:
    tokens = iter(["token-of-u1#1", "token-of-u1#2"])

    async def token() -> str:
        return next(tokens)

    async with device(node, token) as listener:
        await next_of(listener, Connected)
        await off_loop(node.close, TOKEN_EXPIRED)
        await next_of(listener, Connected)
        assert [one.token for one in node.past] == ["token-of-u1#1", "token-of-u1#2"]


async def test_a_token_that_is_expired_again_ends_it(node: FakeNode) -> None:
    node.expired.add("token-of-u1")
    for token in ("token-of-u1", lambda: "token-of-u1"):
        async with device(node, token) as listener:
            with pytest.raises(Closed, match="4401"):
                await next_of(listener, Connected)
    assert len(node.past) == 3, "one with the text, two with the function"


async def test_a_token_is_renewed_before_it_ends(node: FakeNode) -> None:
    async with device(node, lambda: "token-of-u1") as listener:
        await next_of(listener, Connected)
        await off_loop(node.say, "u1", {"type": "expiring"})
        await eventually_async(lambda: [one["type"] for one in node.past[0].received] == ["auth", "auth"])
        assert len(node.past) == 1


async def test_a_function_that_fails_is_asked_again(node: FakeNode) -> None:
    answers: list[str | Exception] = [RuntimeError("the token service is away"), "token-of-u1"]

    def token() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with device(node, token) as listener:
        lost = await next_of(listener, Disconnected)
        assert "the token service is away" in lost.reason
        await next_of(listener, Connected)


async def test_changes_are_made_and_come_back(node: FakeNode) -> None:
    one, two, three = await off_loop(node.new_many, "u1", ["one", "two", "three"])
    async with device(node) as listener:
        await next_of(listener, Connected)
        await listener.read([one])
        changed = await next_of(listener, Changed)
        assert ([row.id for row in changed.rows], changed.unread) == ([one], 2)
        await listener.mark_unread([one])
        await listener.archive([two])
        await listener.delete([three])
        await listener.read_all(three)
        async with asyncio.timeout(10):
            while listener.inbox.unread != 0:
                await anext(listener)
        assert sorted(listener.inbox.rows) == [one, two]


async def test_a_change_is_repeated_if_its_connection_ends(node: FakeNode) -> None:
    one = await off_loop(node.new, "u1", "one")
    async with device(node) as listener:
        await next_of(listener, Connected)
        await off_loop(node.die)
        change = asyncio.create_task(listener.read([one]))
        await next_of(listener, Disconnected)
        await off_loop(node.listen)
        await asyncio.wait_for(change, 10)
        assert listener.inbox.unread == 0


async def test_a_change_that_the_server_cannot_make_now_is_sent_again(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "AGAIN_S", 0.05)
    one = await off_loop(node.new, "u1", "one")
    async with device(node) as listener:
        await next_of(listener, Connected)
        node.errors = ["rate_limited", "store_unavailable"]
        await listener.read([one])
        node.errors = ["invalid"]
        with pytest.raises(ChangeFailed, match="invalid: as the test wants"):
            await listener.read([one])


async def test_a_change_that_is_never_answered_fails(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CHANGE_S", 0.2)
    async with device(node) as listener:
        await next_of(listener, Connected)
        await off_loop(node.die)
        with pytest.raises(ChangeFailed, match="timeout"):
            await listener.read([1])


async def test_somebody_who_does_not_take_the_events_can_still_make_changes(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_WAITING", 2)
    ids = await off_loop(node.new_many, "u1", ["one"])
    async with device(node) as listener:
        await next_of(listener, Connected)
        for number in range(5):
            await off_loop(node.new, "u1", f"number {number}")
        await asyncio.wait_for(listener.read(ids), 10)
        titles = [(await next_of(listener, Arrived)).row.title for _ in range(5)]
        assert titles == [f"number {number}" for number in range(5)]


async def test_the_loop_is_an_ordinary_one(node: FakeNode) -> None:
    await off_loop(node.new, "u1", "one")
    seen: list[Position | None] = []
    async with device(node) as listener:
        async for event in listener:
            seen.append(listener.inbox.position)
            if isinstance(event, Connected):
                break
    assert seen[-1] is not None
    await eventually_async(lambda: node.devices == [])


@pytest.mark.parametrize("frame", [{"type": "missed_notifications"}, {"type": "notification", "prev": 1}, {"x": 1}])
async def test_a_frame_that_is_not_understood_ends_the_connection_and_nothing_is_lost(
    node: FakeNode, frame: dict[str, Any]
) -> None:
    await off_loop(node.new, "u1", "one")
    async with device(node) as listener:
        await next_of(listener, Connected)
        await off_loop(node.say, "u1", frame)
        assert "not understood" in (await next_of(listener, Disconnected)).reason
        await off_loop(node.new, "u1", "two")
        await next_of(listener, Connected)
        assert [row.title for row in listener.inbox.rows.values()] == ["one", "two"]
        assert node.past[-1].resume is not None


async def test_the_example_of_the_readme_works_as_it_stands(node: FakeNode, tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    assert found[1].count("ws://127.0.0.1:5055/ws?user_id=u1") == 1
    node.open = True
    await off_loop(node.new, "u1", "Hello")
    (tmp_path / "listen.py").write_text(found[1].replace("127.0.0.1:5055", f"127.0.0.1:{node.port}"))
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "listen.py",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CLIENT / "src")},
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await program.stdout.readline() == b"missed: Hello\n"
            await off_loop(node.new, "u1", "World")
            assert await program.stdout.readline() == b"now: World\n"
            await eventually_async(lambda: any(one["type"] == "read" for one in node.past[0].received))
    finally:
        program.kill()
        await program.wait()
