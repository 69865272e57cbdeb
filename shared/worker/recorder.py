"""Records outcomes in Redis, and retries while Redis is unavailable.

A message that the provider has accepted must not be sent again because its record failed. So recording is retried for
a limited time; after that the message is acked without a record, and the loss is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from shared.delivery.job import Job
from shared.errors import RedisUnavailable
from shared.idempotency.claims import Claims, Forwarded
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

#: Pause between two tries, seconds.
TRY_EVERY_S = 0.25


class Recorder:
    """Writes records. ``done``, ``forwarded`` and ``mark_token`` raise nothing.

    ``patience_s``: how long a record is retried, seconds.
    """

    def __init__(self, claims: Claims, metrics: Metrics, patience_s: float, *, proceed: bool = False) -> None:
        self._claims = claims
        self._metrics = metrics
        self._patience_s = patience_s
        self._proceed = proceed

    async def done(self, job: Job, provider: str, provider_id: str) -> None:
        """Records that the message is delivered, or skipped if ``provider`` is ''."""
        await self._write_with_retries(job.key, lambda: job.claim.done(provider, provider_id))

    async def forwarded(self, job: Job, n: Forwarded) -> None:
        """Records that the message is forwarded: from now on only a copy at attempt ``n`` or above may be claimed."""
        await self._write_with_retries(job.key, lambda: job.claim.forwarded(n))

    async def served_tokens(self, key: str) -> set[str]:
        """Returns the digests of the targets already served; ``key`` is the request_id in its sender's namespace.

        If Redis is unavailable, it raises RedisUnavailable, or returns an empty set with ``proceed``.
        """
        try:
            return await self._claims.served_tokens(key)
        except RedisUnavailable:
            if not self._proceed:
                raise
            log.warning("served_targets_unknown", request_id=key)
            return set()

    async def mark_token(self, key: str, token_digest: str) -> None:
        await self._write_with_retries(key, lambda: self._claims.mark_token(key, token_digest))

    async def _write_with_retries(self, request_id: str, write: Callable[[], Awaitable[object]]) -> None:
        until = time.monotonic() + self._patience_s
        while True:
            try:
                await write()
            except RedisUnavailable as exc:
                if time.monotonic() >= until:
                    self._metrics.marker_lost.inc()
                    log.error("outcome_not_recorded", request_id=request_id, error=str(exc))
                    return
                await asyncio.sleep(TRY_EVERY_S)
            except Exception:
                # This is a bug. If it were raised further, the message would be redelivered and sent again.
                self._metrics.marker_lost.inc()
                log.exception("outcome_not_recorded", request_id=request_id)
                return
            else:
                return
