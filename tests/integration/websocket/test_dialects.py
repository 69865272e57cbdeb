"""Tests the two simpler dialects: they show what is unread and what comes, and never the same twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import websockets

from shared.store.values import Owner
from tests.support.realtime.stage import Device, Stage, serving, token
from tests.support.stores import Databases


@pytest.fixture
async def open_stage(databases: Databases, redis_url: str) -> AsyncIterator[Stage]:
    """A node that believes the path."""
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, socket_auth="open") as running:
            yield running


async def said(device: Device) -> dict[str, Any]:
    async with asyncio.timeout(10):
        message: dict[str, Any] = orjson.loads(await device.connection.recv())
    return message


async def test_a_path_with_a_user_shows_bare_notifications(open_stage: Stage) -> None:
    await open_stage.add("a/b", count=2, created_ms=1_795_161_600_123)
    device = await open_stage.connect("/ws/a%2Fb", user=None)
    first = await said(device)
    assert first == {
        "id": 1,
        "user_id": "a/b",
        "title": "title of r1",
        "message": "body of r1",
        "type": "info",
        "is_read": False,
        "created_at": "2026-11-20T08:00:00.123Z",
    }
    assert (await said(device))["id"] == 2
    await open_stage.change(open_stage.store.mark, Owner("a/b"), [1], read=True)
    await open_stage.add("a/b")
    assert (await said(device))["id"] == 3
    # A lost wake-up: what is read comes by the same pull and is not shown again.
    await asyncio.to_thread(open_stage.store.mark, Owner("a/b"), [2], read=True)
    await open_stage.add("a/b")
    assert (await said(device))["id"] == 4


async def test_its_connections_end_by_their_code_alone(stage: Stage) -> None:
    device = await stage.connect("/ws/ann", user=None)
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await said(device)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4501


async def test_a_path_with_another_user_than_the_token_is_refused(stage: Stage) -> None:
    device = await stage.connect(f"/ws/bob?token={token('ann')}", user=None)
    assert await device.end() == 4503
    allowed = await stage.connect(f"/ws/ann?token={token('ann')}", user=None)
    await stage.add()
    assert (await said(allowed))["user_id"] == "ann"


async def test_notifications_are_missed_once_and_then_come_one_by_one(stage: Stage) -> None:
    await stage.add(count=2)
    device = await stage.connect(f"/ws/notifications/?token={token('ann')}", user=None)
    missed = await said(device)
    assert (missed["type"], missed["count"]) == ("missed_notifications", 2)
    assert [one["message"] for one in missed["notifications"]] == ["body of r1", "body of r2"]
    await stage.add()
    live = await said(device)
    assert (live["type"], live["notification"]["id"], live["notification"]["is_read"]) == ("notification", 3, False)
    await stage.add(wake=False)
    await stage.add()
    assert [(await said(device))["notification"]["id"] for _ in range(2)] == [4, 5]
    await device.send("ping")
    assert await said(device) == {"type": "pong"}
