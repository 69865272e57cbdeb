"""Tests that a node ends in good order when it is told to stop, and that its last heartbeat is right."""

from __future__ import annotations

import orjson
import redis

from shared.realtime.presence import NODE_PREFIX
from tests.support.realtime.stage import serving
from tests.support.stores import Databases
from tests.support.waiting import eventually_async


async def test_a_node_that_stops_says_so_in_its_last_heartbeat_and_is_gone_then(
    databases: Databases, redis_url: str, redis_client: redis.Redis
) -> None:
    def heartbeat() -> dict[str, object]:
        keys = redis_client.keys(f"{NODE_PREFIX}*")
        beat: dict[str, object] = orjson.loads(redis_client.get(keys[0]) or b"{}") if keys else {}
        return beat

    with databases.empty("sqlite") as url:
        async with serving(url, redis_url) as stage:
            # A device that does not close its connection keeps it draining for a while.
            await stage.live()
            await eventually_async(lambda: heartbeat().get("state") == "open")
            stage.stop.set()
            await eventually_async(lambda: heartbeat().get("state") == "draining")
            assert heartbeat()["port"] == stage.node.port
    assert heartbeat() == {}
