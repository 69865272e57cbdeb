"""Makes claims on a real Redis and reads their records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import redis

from shared.idempotency.claims import Claims
from shared.metrics import Metrics
from shared.redis.client import sync_client

LEASE_S = 60.0
TTL_S = 3600.0
HASH, OTHER_HASH = "00112233445566aa", "ffeeddccbbaa9988"
#: the ends of two leases, in ms since the epoch: one in the distant past, one in the distant future
LAPSED, RUNNING = 1_000, 9_000_000_000_000


@dataclass(frozen=True)
class Lab:
    """Holds one message: its claims and its record."""

    claims: Claims
    redis: redis.Redis
    metrics: Metrics
    request_id: str

    @property
    def key(self) -> str:
        return f"notify:push:{self.request_id}"

    def store(self, record: str) -> None:
        self.redis.set(self.key, record)

    def record(self) -> str | None:
        """Returns what is stored; the end of a running lease is replaced by ``<end>``."""
        value = self.redis.get(self.key)
        if value is None:
            return None
        fields = value.decode().split(":")  # type: ignore[union-attr]
        if fields[0] == "P":
            fields[2] = "<end>"
        return ":".join(fields)

    async def claim(self, token: str = "me", replay: int = 0, attempt: int = 0) -> str:
        return (await self.claims.claim("push", self.request_id, token, replay, attempt, HASH, False)).verdict


@asynccontextmanager
async def lab_on(redis_url: str, request_id: str = "r:1") -> AsyncIterator[Lab]:
    """Yields a lab with leases of one minute: a test that needs a lapsed lease stores one."""
    metrics = Metrics()
    async with Claims(redis_url, lease_s=LEASE_S, ttl_s=TTL_S, metrics=metrics) as claims:
        with sync_client(redis_url) as client:
            yield Lab(claims, client, metrics, request_id)
