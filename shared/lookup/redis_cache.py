"""Caches entries in a Redis that all workers share: an optional second level. Its loss costs speed, never a message."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import structlog
from redis.exceptions import RedisError

from shared.breaker.breaker import Breaker
from shared.breaker.report import State
from shared.redis.client import async_client
from shared.settings.groups.breaker import BreakerPolicy

T = TypeVar("T")

# Open at the first error: otherwise each lookup that misses the memory cache would wait for the timeout.
_POLICY = BreakerPolicy(failures=1, open_s=10, open_max_s=60, successes=1)


class SharedCache:
    """Keeps entries under ``prefix`` in the Redis at ``url``.

    While Redis is unavailable it finds no entry, and raises no error.
    """

    def __init__(self, url: str, prefix: str, policy: BreakerPolicy = _POLICY) -> None:
        self._redis = async_client(url)
        self._prefix = prefix
        self._breaker = Breaker(prefix, policy, listener=_CacheLog())
        #: number of calls that Redis did not answer
        self.errors = 0

    async def get(self, key: str) -> tuple[bytes, float] | None:
        """Returns the entry and the seconds until it expires, or None."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(self._prefix + key)
        pipeline.pttl(self._prefix + key)
        answer = await self._ask(pipeline.execute)
        if answer is None or answer[0] is None or answer[1] <= 0:
            return None
        return cast("bytes", answer[0]), answer[1] / 1000

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        await self._ask(lambda: self._redis.set(self._prefix + key, value, px=max(1, round(ttl_s * 1000))))

    async def close(self) -> None:
        await self._redis.aclose()

    async def _ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        permit = self._breaker.permit()
        if permit is None:
            return None
        began = time.monotonic()
        with permit:
            try:
                answer = await call()
            except (RedisError, OSError):
                self.errors += 1
                permit.failure(time.monotonic() - began)
                return None
            permit.success(time.monotonic() - began)
            return answer


class _CacheLog:
    """Logs one line when the cache is lost, and one when it is back."""

    def changed(self, name: str, old: State, new: State, why: str) -> None:
        log = structlog.get_logger(__name__)
        if old == "closed":
            log.warning("shared_cache_lost", cache=name)
        elif new == "closed":
            log.info("shared_cache_back", cache=name)

    def paused(self, name: str, pause_s: float) -> None:
        return
