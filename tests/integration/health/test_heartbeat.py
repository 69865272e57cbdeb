"""Tests that a worker's heartbeat does not prevent the worker from stopping."""

import asyncio

from shared.health.heartbeat import Heartbeat
from shared.health.registry import WorkerState
from shared.redis.client import async_client

#: Turns of the event loop that a first heartbeat takes: connecting, reading, writing.
TURNS = 60


async def test_a_heartbeat_ends_whenever_it_is_stopped_and_removes_its_entry(redis_url: str) -> None:
    for turns in range(TURNS):
        redis = async_client(redis_url)
        heartbeat = Heartbeat(WorkerState(redis, "push", "one", 60), 60, dict, lambda _: None)
        beating = asyncio.create_task(heartbeat.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        heartbeat.stop()
        await asyncio.wait_for(beating, 5)
        assert not await redis.exists("notify-workers:push")
        await redis.aclose()
