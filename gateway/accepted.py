"""What has been accepted before: ``notify:accepted:<client>:<request_id>`` -> digest, kept for a day.

A courtesy to callers, not the guarantee (that is the consumers' check): with Redis away everything is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import structlog
from redis import Redis
from redis.exceptions import RedisError

from gateway.probe_gate import ProbeGate

log = structlog.get_logger(__name__)

T = TypeVar("T")


class AcceptedRecords:
    """One round trip a call. A Redis that does not answer costs one request a second its timeout, not each."""

    def __init__(self, redis: Redis, ttl_s: float, gate: ProbeGate) -> None:
        self._redis = redis
        self._ttl_ms = round(ttl_s * 1000)
        self._gate = gate

    def find(self, client: str, request_ids: Sequence[str]) -> dict[str, str]:
        """The digest of each one that was accepted before; {} if Redis does not answer."""
        keys = [_key(client, request_id) for request_id in request_ids]
        values = self._attempt(lambda: self._redis.mget(keys)) if keys else None
        if values is None:
            return {}
        return {
            request_id: str(value, "ascii", "replace")
            for request_id, value in zip(request_ids, values, strict=True)
            if isinstance(value, bytes)
        }

    def remember(self, client: str, digests: Mapping[str, str]) -> None:
        """Record what the broker has confirmed; a failure is logged and otherwise of no consequence."""

        def write() -> bool:
            with self._redis.pipeline(transaction=False) as pipeline:
                for request_id, digest in digests.items():
                    pipeline.set(_key(client, request_id), digest, px=self._ttl_ms)
                pipeline.execute()
            return True

        if digests:
            self._attempt(write)

    def _attempt(self, call: Callable[[], T]) -> T | None:
        leave = self._gate.admit()
        if isinstance(leave, str):
            return None
        with leave:
            try:
                answer = call()
            except RedisError as exc:
                leave.missed()
                log.warning("accepted_records_unavailable", error=repr(exc))
                return None
            leave.answered()
            return answer


def _key(client: str, request_id: str) -> str:
    return f"notify:accepted:{client}:{request_id}"
