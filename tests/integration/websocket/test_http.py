"""Tests the same port without WebSockets: server-sent events, long polls, health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
import redis

from services.websocket.transport import sse
from shared.errors import StoreUnavailable
from shared.realtime.presence import PresenceReader
from shared.store.values import Owner, Position
from tests.support.realtime.stage import Stage, get, serving, token
from tests.support.stores import Databases
from tests.support.waiting import eventually_async

AUTH = {"Authorization": f"Bearer {token('ann')}"}
PAGE = "http://localhost:5050"


class Events:
    """Reads server-sent events as a browser does."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.last_id: str | None = None
        self.retry_ms = 0

    async def event(self) -> tuple[str, dict[str, Any]]:
        """Returns name and data of the next event."""
        name, data = "message", ""
        async with asyncio.timeout(10):
            while line := await self.answer.content.readline():
                field, _, value = line.decode().rstrip("\n").partition(": ")
                match field:
                    case "event":
                        name = value
                    case "data":
                        data = value
                    case "id" | "id:":
                        self.last_id = value
                    case "retry":
                        self.retry_ms = int(value)
                    case "" if data:
                        return name, orjson.loads(data)
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def events(stage: Stage, query: str = "", **headers: str) -> AsyncIterator[Events]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{stage.http}/sse{query}", headers={**AUTH, **headers}) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Events(answer)


async def test_events_are_named_like_frames_and_their_ids_are_positions(stage: Stage) -> None:
    await stage.add(count=2)
    at = await stage.end_of()
    async with events(stage) as stream:
        name, welcome = await stream.event()
        assert (name, welcome["type"], welcome["user_id"]) == ("welcome", "welcome", "ann")
        nothing_yet = stream.last_id
        name, missed = await stream.event()
        assert (name, len(missed["items"]), missed["recovered"]) == ("missed_notifications", 2, False)
        assert (nothing_yet, stream.last_id) == (None, f"{at.epoch}:2")
        await stage.add(count=2)
        name, live = await stream.event()
        assert (name, live["prev"], stream.last_id) == ("notification", 2, f"{at.epoch}:2")
        await stream.event()
        assert stream.last_id == f"{at.epoch}:4"


@pytest.mark.parametrize("by", ["header", "query"])
async def test_events_resume(by: str, stage: Stage) -> None:
    await stage.add(count=2)
    at = await stage.end_of()
    await stage.add()
    name = f"{at.epoch}:{at.offset}"
    query, headers = ("", {"Last-Event-ID": name}) if by == "header" else (f"?position={name}", {})
    async with events(stage, query, **headers) as stream:
        assert (await stream.event())[1]["recovered"] is True
        _, missed = await stream.event()
        assert [item["request_id"] for item in missed["items"]] == ["r3"]
        assert stream.last_id == f"{at.epoch}:3"


async def test_a_long_pull_has_one_id_and_one_that_starts_anew_clears_the_old_one(stage: Stage) -> None:
    for _ in range(3):
        await stage.add(count=50)
    at = await stage.end_of()
    async with events(stage, **{"Last-Event-ID": "ffffffff:9"}) as stream:
        assert (await stream.event())[1]["recovered"] is False
        await stream.event()
        assert stream.last_id == ""
        await stream.event()
        assert stream.last_id == f"{at.epoch}:150"


async def test_a_browser_is_told_when_to_come_back(stage: Stage) -> None:
    async with events(stage) as stream:
        first = await stream.answer.content.readline()
        assert first.startswith(b"retry: ")
        assert 1_000 <= int(first.removeprefix(b"retry: ")) <= 5_000
        assert stream.answer.headers["X-Accel-Buffering"] == "no"


async def test_a_silent_stream_has_signs_of_life(databases: Databases, redis_url: str) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, socket_ping_s=0.2) as stage, events(stage) as stream:
            names = [(await stream.event())[0] for _ in range(8)]
            # Its machine acknowledges them, so it is not taken for dead.
            assert names == ["welcome", "missed_notifications", *["ping"] * 6]
            assert stream.last_id == ":0"


async def test_a_stream_whose_machine_acknowledges_nothing_is_cut(
    databases: Databases, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, socket_ping_s=0.2) as stage, events(stage) as stream:
            await stream.event()
            device: Any = next(iter(stage.node._parts.connections))
            before = sse.acked_bytes(device._transport)
            assert before is not None
            await stage.add()
            await eventually_async(lambda: (sse.acked_bytes(device._transport) or 0) > before)
            monkeypatch.setattr(sse, "acked_bytes", lambda _: 4711)
            await eventually_async(lambda: stage.node.hub.owners == [])
            assert stage.sample("notify_connections_closed_total", code="1006") == 1


async def test_a_stream_is_a_connection_of_its_user_and_ends_with_it(
    databases: Databases, redis_url: str, redis_client: redis.Redis
) -> None:
    with databases.empty("sqlite") as url:
        async with serving(url, redis_url, sockets_per_user=1) as stage, events(stage) as stream:
            reader = PresenceReader(redis_client)
            await eventually_async(lambda: len(reader.connected(Owner("ann"))) == 1)
            # Its first load is over before the next connection comes.
            assert [(await stream.event())[0] for _ in range(2)] == ["welcome", "missed_notifications"]
            await stage.live()
            name, frame = await stream.event()
            assert (name, frame["code"]) == ("disconnect", 4505)
            # A browser would come back at once, and end the other one.
            assert stream.retry_ms == 3_600_000
            assert await stream.answer.content.read() == b""


async def test_a_stream_that_is_left_is_forgotten(stage: Stage) -> None:
    async with events(stage) as stream:
        await stream.event()
        assert stage.sample("active_websocket_connections", transport="sse", dialect="sse") == 1
    await eventually_async(lambda: stage.node.hub.owners == [])
    assert stage.sample("active_websocket_connections", transport="sse", dialect="sse") == 0


async def test_a_stopping_node_ends_a_stream_and_says_when_to_come_back(stage: Stage) -> None:
    async with events(stage) as stream:
        await stream.event()
        await stream.event()
        stage.stop.set()
        line = await stream.answer.content.readline()
        assert line.startswith(b"retry: ")
        name, frame = await stream.event()
        assert (name, frame["code"]) == ("disconnect", 1012)
        assert f"retry: {max(frame['after_ms'], 1)}\n".encode() == line


async def test_a_stream_ends_with_its_token(stage: Stage) -> None:
    async with events(stage, Authorization=f"Bearer {token('ann', life_s=1)}") as stream:
        names = [await stream.event() for _ in range(3)]
        assert (names[-1][0], names[-1][1]["code"]) == ("disconnect", 4401)


async def test_a_stream_that_is_not_read_is_given_up_and_one_that_is_read_later_catches_up(stage: Stage) -> None:
    object.__setattr__(stage.node._parts, "stalled_s", 0.5)
    async with events(stage) as stream:
        for _ in range(400):
            await stage.add(body="x" * 20_000)
        await eventually_async(lambda: stage.sample("notify_slow_closed_total") == 1, deadline_s=30)
        assert stage.node.hub.owners == []
        del stream
    object.__setattr__(stage.node._parts, "stalled_s", 30)
    async with events(stage) as stream:
        for _ in range(400):
            await stage.add(body="x" * 20_000)
        end = await stage.end_of()
        while stream.last_id != f"{end.epoch}:{end.offset}":
            await stream.event()
    assert stage.sample("notify_pulls_total", why="slow") >= 1


@pytest.mark.parametrize("path", ["/sse", "/poll"])
async def test_without_the_store_a_device_is_told_when_to_come_back(
    path: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(stage.store, "pull", away)
    if path == "/sse":
        async with events(stage) as stream:
            name, frame = await stream.event()
            assert (name, frame["code"]) == ("disconnect", 1013)
            assert 5_000 <= stream.retry_ms <= 15_000
    else:
        async with aiohttp.ClientSession() as client, client.get(f"{stage.http}/poll", headers=AUTH) as answer:
            assert answer.status == 503
            assert 5 <= int(answer.headers["Retry-After"]) <= 15


# -- Polls -----------------------------------------------------------------------------------------------------------


async def poll(stage: Stage, position: Position | None = None, wait: float = 0) -> tuple[int, dict[str, Any]]:
    at = "" if position is None else f"&position={position.epoch}:{position.offset}"
    return await get(f"{stage.http}/poll?wait={wait}{at}", headers=AUTH)


async def test_a_poll_without_a_position_is_a_first_load(stage: Stage) -> None:
    await stage.add(count=2)
    status, answer = await poll(stage, wait=25)
    assert (status, answer["recovered"], answer["offset"], answer["unread"]) == (200, False, 2, 2)
    assert [item["request_id"] for item in answer["items"]] == ["r1", "r2"]
    assert answer["more"] is False


async def test_a_poll_waits_until_something_changes(stage: Stage) -> None:
    await stage.add()
    at = await stage.end_of()
    waiting = asyncio.create_task(poll(stage, at, wait=20))
    await eventually_async(lambda: stage.node.hub.owners == [Owner("ann")])
    await stage.add()
    status, answer = await waiting
    assert (status, answer["recovered"], answer["offset"]) == (200, True, 2)
    assert [item["request_id"] for item in answer["items"]] == ["r2"]
    assert stage.node.hub.owners == []


@pytest.mark.parametrize("wait", [0, 0.2])
async def test_a_poll_in_which_nothing_changes_says_so(wait: float, stage: Stage) -> None:
    await stage.add()
    at = await stage.end_of()
    _, answer = await poll(stage, at, wait=wait)
    assert (answer["items"], answer["recovered"], answer["epoch"], answer["offset"]) == ([], True, *at)


async def test_a_poll_is_answered_when_the_node_stops(stage: Stage) -> None:
    await stage.add()
    at = await stage.end_of()
    waiting = asyncio.create_task(poll(stage, at, wait=25))
    await eventually_async(lambda: stage.node.hub.owners == [Owner("ann")])
    await eventually_async(lambda: stage.sample("notify_resumed_total", recovered="true") == 1)
    stage.stop.set()
    status, answer = await waiting
    assert (status, answer["items"]) == (200, [])


async def test_polls_do_not_count_as_connections(stage: Stage, redis_client: redis.Redis) -> None:
    await poll(stage, wait=0)
    assert redis_client.keys("notify-presence*") == []


@pytest.mark.parametrize("wait", ["-1", "26", "nan", "soon"])
async def test_a_poll_that_waits_too_long_is_refused(wait: str, stage: Stage) -> None:
    assert (await get(f"{stage.http}/poll?wait={wait}", headers=AUTH))[0] == 422


# -- Everything ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/sse", "/poll"])
@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 401),
        ("", {"Authorization": "Bearer eyJ.no.token"}, 401),
        ("?user_id=bob", AUTH, 403),
        ("", {**AUTH, "Origin": "https://evil.example.org"}, 403),
        (f"?token={token('bob')}&ticket=none", {}, 401),
    ],
)
async def test_who_may_not_is_refused(
    path: str, query: str, headers: dict[str, str], status: int, stage: Stage
) -> None:
    assert (await get(stage.http + path + query, headers=headers))[0] == status


async def test_pages_of_known_origins_may_read_the_answers(stage: Stage) -> None:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{stage.http}/poll", headers={**AUTH, "Origin": PAGE}) as answer,
        client.options(f"{stage.http}/sse", headers={"Origin": PAGE}) as preflight,
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
        assert preflight.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


async def test_health_says_what_the_node_does(stage: Stage) -> None:
    await stage.live()
    await eventually_async(lambda: stage.node.health()["redis"] == "up")
    status, health = await get(f"{stage.http}/health")
    assert (status, health["status"], health["connections"], health["users"]) == (200, "healthy", 1, 1)
    assert (await get(f"{stage.http}/health/ready"))[0] == 200
    assert (await get(f"{stage.http}/health/live"))[0] == 200
    stage.node._state = "draining"
    assert (await get(f"{stage.http}/health/ready"))[0] == 503


async def test_metrics_are_served(stage: Stage) -> None:
    await stage.add()
    device = await stage.live()
    await stage.add()
    await device.frame()
    async with aiohttp.ClientSession() as client, client.get(f"{stage.http}/metrics") as answer:
        text = await answer.text()
    assert 'active_websocket_connections{dialect="native",transport="websocket"} 1.0' in text
    assert "notify_live_total 1.0" in text
    assert 'notify_accept_to_socket_seconds_count{lane="medium"} 1.0' in text


@pytest.mark.parametrize(("path", "status"), [("/ws", 426), ("/nothing", 404)])
async def test_other_paths_are_refused(path: str, status: int, stage: Stage) -> None:
    assert (await get(stage.http + path))[0] == status


async def test_only_get_is_served(stage: Stage) -> None:
    async with aiohttp.ClientSession() as client, client.post(f"{stage.http}/poll", data=b"x" * 10) as answer:
        assert answer.status == 405
