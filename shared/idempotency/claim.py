"""The claim on one message while it is in hand: taken, kept long enough for a send, renewed before a hand-on."""

from __future__ import annotations

import time

import structlog

from shared.errors import NotifyError, StoreUnavailable
from shared.idempotency.claims import ClaimAnswer, Claims, body_hash

log = structlog.get_logger(__name__)


class ClaimLost(NotifyError):
    """The claim was repeated before a send and is not ours any more; ``answer`` is what the store said."""

    def __init__(self, answer: ClaimAnswer) -> None:
        self.answer = answer
        super().__init__(answer.verdict)


class Claim:
    """Remembers until when the lease surely covers a send: the handling budget since the last yes."""

    __slots__ = ("_budget_s", "_claims", "_covered_until", "_proceed", "attempt", "channel", "hash", "redelivered",
                 "replay", "request_id", "token")  # fmt: skip

    def __init__(
        self,
        claims: Claims,
        *,
        channel: str,
        request_id: str,
        token: str,
        replay: int,
        attempt: int,
        body: bytes,
        redelivered: bool,
        budget_s: float,
        proceed_without_store: bool,
    ) -> None:
        self._claims = claims
        self.channel, self.request_id, self.token = channel, request_id, token
        self.replay, self.attempt = replay, attempt
        self.hash = body_hash(body)
        self.redelivered = redelivered
        self._budget_s = budget_s
        self._proceed = proceed_without_store
        self._covered_until = 0.0

    async def take(self) -> ClaimAnswer:
        """Claim, or claim again. Raises StoreUnavailable, unless the setting says to proceed without a store."""
        asked_at = time.monotonic()
        try:
            answer = await self._claims.claim(
                self.channel, self.request_id, self.token, self.replay, self.attempt, self.hash, self.redelivered
            )
        except StoreUnavailable as exc:
            if not self._proceed:
                raise
            log.warning("proceeding_without_a_claim", request_id=self.request_id, error=str(exc))
            answer = ClaimAnswer("yes")
        # Counted from the question, not the answer: the lease may have begun that early.
        self._covered_until = asked_at + self._budget_s
        return answer

    async def keep(self, send_s: float) -> None:
        """Make sure that the lease covers a send of ``send_s`` seconds. Raises ClaimLost, StoreUnavailable."""
        if self._covered_until - time.monotonic() < send_s:
            answer = await self.take()
            if answer.verdict != "yes":
                raise ClaimLost(answer)

    async def renew(self) -> None:
        """Claim again before a hand-on is repeated; it goes on whatever the store says."""
        try:
            await self.take()
        except StoreUnavailable as exc:
            log.warning("claim_not_renewed", request_id=self.request_id, error=str(exc))
