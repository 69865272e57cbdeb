"""A worker that is to end is not kept by its own sign of life."""

import asyncio

from shared.health.heartbeat import Heartbeat
from shared.health.registry import WorkerState
from shared.redis.client import async_client

#: turns of the loop that a first beat takes: connecting, asking, writing
TURNS = 60


async def test_a_heartbeat_ends_at_whatever_moment_it_is_stopped_and_takes_its_sign_down(redis_url: str) -> None:
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
