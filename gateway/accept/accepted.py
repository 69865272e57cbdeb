"""What has been accepted before: ``notify:accepted:<client>:<request_id>`` -> digest, kept for a day.

A courtesy to callers, not the guarantee (that is the consumers' check): with Redis away everything is accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from gateway.accept.probe_gate import Pass, ProbeGate
from shared.errors import StoreUnavailable
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
    """One round trip a call, however many. A Redis that does not answer costs one call a second its timeout."""

    def __init__(self, redis: Batcher, ttl_s: float, gate: ProbeGate) -> None:
        self._redis = redis
        self._remember = redis.script(_REMEMBER, str(round(ttl_s * 1000)).encode())
        self._gate = gate

    async def find(self, keys: Sequence[Key]) -> list[str | None]:
        """The digest of each one that was accepted before, else None; all None if Redis does not answer."""
        leave = self._gate.admit()
        if not isinstance(leave, Pass):
            return [None] * len(keys)
        try:
            values = await self._redis.command("MGET", *map(_name, keys))
        except StoreUnavailable as exc:
            _missed(leave, exc)
            return [None] * len(keys)
        leave.answered()
        return [str(value, "ascii", "replace") if isinstance(value, bytes) else None for value in values]

    async def remember(self, digests: Sequence[tuple[Key, str]]) -> None:
        """Record what the broker has confirmed; a failure is logged and otherwise of no consequence."""
        leave = self._gate.admit()
        if not isinstance(leave, Pass):
            return
        calls = [self._remember.call(_name(key), digest.encode()) for key, digest in digests]
        await asyncio.wait(calls)
        failed = [error for call in calls if (error := call.exception()) is not None]
        if failed:
            _missed(leave, failed[0])
        else:
            leave.answered()


def _missed(leave: Pass, error: BaseException) -> None:
    leave.missed()
    log.warning("accepted_records_unavailable", error=str(error))


def _name(key: Key) -> bytes:
    return f"notify:accepted:{key[0]}:{key[1]}".encode()
