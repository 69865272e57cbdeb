"""Remembers accepted notifications in Redis: ``notify:accepted:<client>:<request_id>`` holds a digest for a day.

It avoids a second message when a caller repeats a request. The guarantee is not here but in the workers' claims: while
Redis does not answer, every notification counts as new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog

from gateway.accept.gate import one_miss_breaker
from shared.breaker.breaker import Permit
from shared.errors import RedisUnavailable
from shared.redis.batch import Batcher

log = structlog.get_logger(__name__)

#: (client, request_id)
Key = tuple[str, str]

_REMEMBER = """
local answers = {}
for i, key in ipairs(KEYS) do
  answers[i] = redis.call('SET', key, ARGV[1 + i], 'PX', ARGV[1])
end
return answers
"""


class AcceptedRecords:
    """Finds and writes the records. All commands of one turn of the loop share one round trip.

    After one timeout nothing is sent to Redis for a second; then one request at a time tries it again.
    """

    def __init__(self, redis: Batcher, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._remember = redis.script(_REMEMBER, str(round(ttl_s * 1000)).encode())
        self._breaker = one_miss_breaker("accepted records", clock)

    async def find(self, keys: Sequence[Key]) -> list[str | None]:
        """Returns for each key the digest of the notification accepted under it, or None.

        All are None if Redis does not answer.
        """
        permit = self._breaker.permit()
        if permit is None:
            return [None] * len(keys)
        with permit:
            try:
                values = await self._redis.command("MGET", *map(_name, keys))
            except RedisUnavailable as exc:
                _missed(permit, exc)
                return [None] * len(keys)
            permit.success(0.0)
        return [str(value, "ascii", "replace") if isinstance(value, bytes) else None for value in values]

    async def remember(self, digests: Sequence[tuple[Key, str]]) -> None:
        """Records notifications that the broker has confirmed. A failure is logged and has no other consequence."""
        permit = self._breaker.permit()
        if permit is None:
            return
        with permit:
            # All commands are sent before the first one is awaited.
            calls = [self._remember.call(_name(key), digest.encode()) for key, digest in digests]
            failure: RedisUnavailable | None = None
            for call in calls:
                try:
                    await call
                except RedisUnavailable as exc:
                    failure = failure or exc
            if failure is None:
                permit.success(0.0)
            else:
                _missed(permit, failure)


def _missed(permit: Permit, error: RedisUnavailable) -> None:
    permit.failure(0.0)
    log.warning("accepted_records_unavailable", error=str(error))


def _name(key: Key) -> bytes:
    return f"notify:accepted:{key[0]}:{key[1]}".encode()
