"""Tests the load of the sockets against a server that is written with ``websockets``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve

from bench.errors import BenchFailed
from bench.realtime.fleet import Fleet

ITEM = '{{"request_id":"{}","title":"t","created_at":"2026-11-20T08:00:00.123Z"}}'
FRAME = f'{{"type":"notification","notification":{ITEM.format("r-1")}}}'
PULL = f'{{"type":"missed_notifications","items":[{ITEM.format("r-1")},{ITEM.format("r-2")}]}}'


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async def handle(connection: ServerConnection) -> None:
        await connection.send("welcome")
        await connection.send("missed")
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, compression=None) as running:
        yield running


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    made = await asyncio.to_thread(Fleet, tmp_path, "test")
    yield made
    await asyncio.to_thread(made.stop)


async def connected(fleet: Fleet, server: Server, devices: int) -> list[float]:
    port = server.sockets[0].getsockname()[1]
    return await asyncio.to_thread(fleet.connect, port, [f"/ws?user_id={n}" for n in range(devices)], 2)


async def test_devices_are_greeted_count_frames_and_answer_pings(server: Server, fleet: Fleet) -> None:
    took_s = await connected(fleet, server, 3)
    assert len(took_s) == len(server.connections) == 3
    assert all(0 < one < 30 for one in took_s)

    await asyncio.to_thread(fleet.expect, 6)
    for _ in range(2):
        broadcast(server.connections, FRAME)
        await asyncio.gather(*[await connection.ping() for connection in server.connections])
    await asyncio.to_thread(fleet.all_here)


async def test_what_is_recorded_is_when_each_notification_came(server: Server, fleet: Fleet) -> None:
    await connected(fleet, server, 1)
    before_s = asyncio.get_running_loop().time()
    await asyncio.to_thread(fleet.record)
    await asyncio.to_thread(fleet.expect, 2)
    broadcast(server.connections, '{"type":"updated","items":[{"id":1,"deleted":true}]}')
    broadcast(server.connections, FRAME)
    await asyncio.to_thread(fleet.all_here)
    between_s = asyncio.get_running_loop().time()
    await asyncio.to_thread(fleet.expect, 1)
    broadcast(server.connections, PULL)
    await asyncio.to_thread(fleet.all_here)
    after_s = asyncio.get_running_loop().time()

    arrivals = await asyncio.to_thread(fleet.recorded)
    assert arrivals.keys() == {"r-1", "r-2"}
    assert before_s < arrivals["r-1"].at_s < between_s < arrivals["r-2"].at_s < after_s
    accepted_s = datetime(2026, 11, 20, 8, 0, 0, 123_000, UTC).timestamp()
    assert arrivals["r-2"].since_acceptance_s == pytest.approx(time.time() - accepted_s, abs=60)


async def test_devices_connect_at_their_rate(server: Server, fleet: Fleet) -> None:
    port = server.sockets[0].getsockname()[1]
    before_s = asyncio.get_running_loop().time()
    await asyncio.to_thread(fleet.begin_connecting, port, ["/ws?user_id=u"] * 5, 2, 20)
    assert len(await asyncio.to_thread(fleet.connected)) == 5
    assert asyncio.get_running_loop().time() - before_s >= 4 / 20


async def test_too_many_frames_are_an_error(server: Server, fleet: Fleet) -> None:
    await connected(fleet, server, 1)
    [connection] = server.connections
    await asyncio.to_thread(fleet.expect, 1)
    # Both are in one packet, so the load reads them together.
    connection.transport.write(2 * (b"\x81\x02{}"))
    with pytest.raises(BenchFailed, match="2 frames came, and 1 were expected"):
        await asyncio.to_thread(fleet.all_here)


async def test_a_server_that_closes_ends_the_load_with_an_error(server: Server, fleet: Fleet) -> None:
    await connected(fleet, server, 1)
    [connection] = server.connections
    await asyncio.to_thread(fleet.expect, 1)
    await connection.close(1012)
    with pytest.raises(BenchFailed, match="the server closes a connection"):
        await asyncio.to_thread(fleet.all_here)
