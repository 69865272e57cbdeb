"""Finds Redis through Sentinels, which watch it and make a replica the new master when it fails.

redis-py asks the Sentinels anew for each connection. When Sentinel demotes a master it closes the connections of its
clients, and a demoted master refuses writes (READONLY): both end a connection here, and the next one goes to the new
master (https://redis.io/docs/latest/develop/reference/sentinel-clients/).
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from shared.settings.addresses import SentinelUrl, sentinel_url


def async_master(url: str, timeout_s: float) -> redis.asyncio.Redis:
    """Returns a client of the master for the running loop; closing it closes its connections to the Sentinels too."""
    parts = sentinel_url(url)
    options = {**_options(parts, timeout_s), "retry": AsyncRetry(NoBackoff(), 0)}
    sentinels = _async_sentinels(parts, timeout_s)
    client: _AsyncMaster = sentinels.master_for(parts.master, redis_class=_AsyncMaster, **options)
    client.sentinels = sentinels
    return client


def sync_master(url: str, timeout_s: float) -> redis.Redis:
    """Returns a client of the master for threads; closing it closes its connections to the Sentinels too."""
    parts = sentinel_url(url)
    retry = Retry(NoBackoff(), 0)
    options = {**_options(parts, timeout_s), "retry": retry}
    asking = {**_sentinel_options(parts, timeout_s), "retry": retry}
    sentinels = redis.sentinel.Sentinel(parts.sentinels, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    client: _SyncMaster = sentinels.master_for(parts.master, redis_class=_SyncMaster, **options)  # type: ignore[no-untyped-call]
    client.sentinels = sentinels
    return client


async def master_url(url: str, timeout_s: float) -> str:
    """Asks the Sentinels, and returns the URL of the present master. Raises OSError."""
    parts = sentinel_url(url)
    async with aclosing(_async_sentinels(parts, timeout_s)) as sentinels:
        try:
            host, port = await sentinels.discover_master(parts.master)
        except RedisError as exc:
            raise OSError(0, f"no Sentinel names a living master {parts.master!r}") from exc
    return parts.redis_url(host, port)


class _AsyncMaster(redis.asyncio.Redis):
    sentinels: redis.asyncio.sentinel.Sentinel

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        await self.sentinels.aclose()


class _SyncMaster(redis.Redis):
    sentinels: redis.sentinel.Sentinel

    def close(self) -> None:
        super().close()
        for sentinel in self.sentinels.sentinels:
            sentinel.close()


def _async_sentinels(parts: SentinelUrl, timeout_s: float) -> redis.asyncio.sentinel.Sentinel:
    asking = {**_sentinel_options(parts, timeout_s), "retry": AsyncRetry(NoBackoff(), 0)}
    return redis.asyncio.sentinel.Sentinel(parts.sentinels, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]


def _options(parts: SentinelUrl, timeout_s: float) -> dict[str, Any]:
    """Returns redis-py's options for the master, as it reads them from a URL."""
    options: dict[str, Any] = dict(redis.asyncio.connection.parse_url(parts.redis_url("localhost", 6379)))
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    return {
        **options,
        "ssl": parts.scheme == "rediss",
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
    }


def _sentinel_options(parts: SentinelUrl, timeout_s: float) -> dict[str, Any]:
    # They are asked one after the other, and one that is unresponsive must leave time for the next.
    each_s = timeout_s / (len(parts.sentinels) + 1)
    options = {name: value for name, value in _options(parts, each_s).items() if name.startswith(("ssl", "socket_"))}
    return {**options, "password": parts.sentinel_password}
