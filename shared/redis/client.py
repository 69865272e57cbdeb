"""Makes Redis clients that fail fast, and checks that the Redis for the claims keeps its data.

By default redis-py retries by itself: with a refused connection each command took 4.5 s. Here the caller decides what a
failure means, so there are no hidden retries, and nothing waits for longer than half a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from shared.errors import BadSettings, RedisUnavailable
from shared.redis.sentinel import async_master, sync_master
from shared.settings.addresses import is_sentinel

log = structlog.get_logger(__name__)

#: longest wait for a connection, and for an answer, seconds
TIMEOUT_S = 0.5


def async_client(url: str, timeout_s: float = TIMEOUT_S) -> redis.asyncio.Redis:
    """Returns a client for the running loop; it connects when first used. Close it with ``aclose``."""
    if is_sentinel(url):
        return async_master(url, timeout_s)
    return redis.asyncio.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=AsyncRetry(NoBackoff(), 0)
    )


def sync_client(url: str, timeout_s: float = TIMEOUT_S) -> redis.Redis:
    """Returns a client for threads; it connects when first used."""
    if is_sentinel(url):
        return sync_master(url, timeout_s)
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns each error of redis-py (unavailable, full, read-only) into RedisUnavailable."""
    try:
        yield
    except RedisError as exc:
        raise RedisUnavailable(f"{type(exc).__name__}: {exc}") from exc


def memory_share(info: Mapping[str, Any]) -> float:
    """Returns which part of ``maxmemory`` is used, by ``INFO memory``; 0 if there is no limit."""
    limit = int(info.get("maxmemory", 0))
    return int(info.get("used_memory", 0)) / limit if limit else 0.0


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """Holds what ``INFO`` says about keeping data."""

    append_only: bool
    eviction: str
    memory_share: float

    @classmethod
    def read(cls, info: Mapping[str, Any]) -> RedisFacts:
        """Reads the sections ``persistence`` and ``memory``, which servers give even where CONFIG is forbidden."""
        return cls(
            append_only=bool(int(info.get("aof_enabled", 0))),
            eviction=str(info.get("maxmemory_policy", "unknown")),
            memory_share=memory_share(info),
        )

    def problems(self) -> list[tuple[str, str]]:
        """Returns one (setting of the server, what it puts at risk) per unfit setting."""
        found = []
        if not self.append_only:
            found.append(("appendonly", "is not yes: a crash of Redis loses the records, and messages are sent twice"))
        if self.eviction != "noeviction":
            found.append(("maxmemory-policy", f"is {self.eviction}, not noeviction: records are dropped silently"))
        return found


async def read_facts(client: redis.asyncio.Redis) -> RedisFacts:
    """Asks the server for its facts. Raises RedisUnavailable."""
    with store_errors():
        return RedisFacts.read(await client.info("persistence", "memory"))


async def check_durable(client: redis.asyncio.Redis, *, production: bool) -> RedisFacts:
    """Checks the server once, at start, and logs what makes it unfit.

    Raises RedisUnavailable, or BadSettings in production if the server is unfit.
    """
    facts = await read_facts(client)
    problems = facts.problems()
    if problems and production:
        raise BadSettings([(f"REDIS_URL (the server's {name})", why) for name, why in problems])
    for name, why in problems:
        log.warning("redis_is_unfit_for_production", setting=name, problem=why)
    return facts
