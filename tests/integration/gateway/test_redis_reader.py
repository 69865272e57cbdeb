"""Tests that ``GET /health`` only reads in Redis, with a Redis user that may not write."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import orjson
import pytest
import redis

from gateway.health.report import Health
from gateway.health.workers import RedisReader
from shared.broker.queue_depth import Sampler
from shared.redis.client import sync_client
from tests.support.fakes.gateway_client import FakeProbe

HEARTBEAT_S = 5.0


@pytest.fixture
def reader(redis_client: redis.Redis, redis_url: str) -> Iterator[redis.Redis]:
    """Yields a client of a user to whom Redis refuses every write, also a write by a script."""
    rights = ["+@all", "-@write", "-@scripting"]
    redis_client.acl_setuser("reader", enabled=True, passwords=["+secret"], keys=["*"], categories=rights)
    place = urlsplit(redis_url)
    with sync_client(f"redis://reader:secret@{place.hostname}:{place.port}{place.path}") as client:
        yield client
    redis_client.acl_deluser("reader")


def test_a_report_writes_nothing_also_beside_dead_workers(redis_client: redis.Redis, reader: redis.Redis) -> None:
    seconds, _ = redis_client.time()
    living = orjson.dumps({"at_ms": seconds * 1000, "providers": {"fcm": "open"}})
    redis_client.hset("notify-workers:push", mapping={"dead": '{"at_ms":1}', "junk": "{", "living": living})
    answer = Health(lambda: "up", lambda: False, Sampler(), RedisReader(reader, HEARTBEAT_S), FakeProbe()).report()
    assert (answer.redis, answer.channels["push"].consumers) == ("up", 1)
    assert answer.channels["push"].providers == {"fcm": "open"}
    assert set(redis_client.hkeys("notify-workers:push")) == {b"dead", b"junk", b"living"}
