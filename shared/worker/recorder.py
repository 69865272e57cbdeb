"""Writing outcomes down although Redis may be away for a moment.

After the provider's yes there is no way back: failing to record a success must not cause a resend, so the record is
tried for a while, then the message is acked all the same and the loss is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.delivery.job import Job
from shared.errors import StoreUnavailable
from shared.idempotency.claims import Claims, HandedOn
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

#: pause between two tries, seconds
TRY_EVERY_S = 0.25


class Recorder:
    """The claims' writing half, with patience; none of it raises."""

    def __init__(self, claims: Claims, metrics: Metrics, patience_s: float, *, proceed: bool = False) -> None:
        self._claims = claims
        self._metrics = metrics
        self._patience_s = patience_s
        self._proceed = proceed

    async def done(self, job: Job, provider: str, provider_id: str) -> None:
        """D: delivered, or skipped if ``provider`` is ''."""
        token = job.incoming.token
        await self._insist(
            job.request_id,
            lambda: self._claims.done(job.channel, job.request_id, token, job.claim.hash, provider, provider_id),
        )

    async def handed_on(self, job: Job, n: HandedOn) -> None:
        """F: handed on; only a copy at attempt ``n`` or above may be claimed."""
        token = job.incoming.token
        await self._insist(
            job.request_id,
            lambda: self._claims.handed_on(job.channel, job.request_id, token, job.travel.replay, n),
        )

    async def release(self, job: Job) -> None:
        """Give the claim back untried. If Redis is away the lease runs out by itself, and the token is given up too.

        A release that was not answered may still travel. Under the same token it would end a later claim of this very
        message in the middle of its send, and another copy could be sent beside it.
        """
        try:
            await self._claims.release(job.channel, job.request_id, job.incoming.token)
        except StoreUnavailable as exc:
            job.incoming.renew_token()
            log.info("release_left_to_the_lease", request_id=job.request_id, error=str(exc))

    async def served_tokens(self, request_id: str) -> set[str]:
        """Digests of the targets already served. Raises StoreUnavailable, unless the setting says to proceed."""
        try:
            return await self._claims.served_tokens(request_id)
        except StoreUnavailable:
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
            except StoreUnavailable as exc:
                if loop.time() >= until:
                    self._metrics.marker_lost.inc()
                    log.error("outcome_not_recorded", request_id=request_id, error=str(exc))
                    return
                await asyncio.sleep(TRY_EVERY_S)
            else:
                return
