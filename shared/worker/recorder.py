"""Records outcomes in Redis, with patience while Redis is unavailable.

After the provider's yes there is no way back: failing to record a success must not cause a resend, so the record is
tried for a while, then the message is acked all the same and the loss is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.delivery.job import Job
from shared.errors import RedisUnavailable
from shared.idempotency.claims import Claims, Forwarded
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

#: pause between two tries, seconds
TRY_EVERY_S = 0.25


class Recorder:
    """``done``, ``forwarded`` and ``mark_token`` raise nothing. ``patience_s``: how long a record is tried, seconds."""

    def __init__(self, claims: Claims, metrics: Metrics, patience_s: float, *, proceed: bool = False) -> None:
        self._claims = claims
        self._metrics = metrics
        self._patience_s = patience_s
        self._proceed = proceed

    async def done(self, job: Job, provider: str, provider_id: str) -> None:
        """Record that it is delivered, or skipped if ``provider`` is ''."""
        await self._insist(job.request_id, lambda: job.claim.done(provider, provider_id))

    async def forwarded(self, job: Job, n: Forwarded) -> None:
        """Record that it is forwarded: only a copy at attempt ``n`` or above may be claimed."""
        await self._insist(job.request_id, lambda: job.claim.forwarded(n))

    async def served_tokens(self, request_id: str) -> set[str]:
        """Digests of the targets already served. Raises RedisUnavailable, unless the setting says to proceed."""
        try:
            return await self._claims.served_tokens(request_id)
        except RedisUnavailable:
            if not self._proceed:
                raise
            log.warning("served_targets_unknown", request_id=request_id)
            return set()

    async def mark_token(self, request_id: str, token_digest: str) -> None:
        await self._insist(request_id, lambda: self._claims.mark_token(request_id, token_digest))

    async def _insist(self, request_id: str, write: Callable[[], Awaitable[object]]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience_s
        while True:
            try:
                await write()
            except RedisUnavailable as exc:
                if loop.time() >= until:
                    self._metrics.marker_lost.inc()
                    log.error("outcome_not_recorded", request_id=request_id, error=str(exc))
                    return
                await asyncio.sleep(TRY_EVERY_S)
            except Exception:
                # A bug. Were it passed on, the message would come again and be sent again.
                self._metrics.marker_lost.inc()
                log.exception("outcome_not_recorded", request_id=request_id)
                return
            else:
                return
