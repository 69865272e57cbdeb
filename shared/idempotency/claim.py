"""Claims one message for one delivery, renews the claim in time, and ends it by recording the result."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

import structlog

from shared.errors import NotifyError, RedisUnavailable
from shared.idempotency.claims import ClaimAnswer, Claims, Doubt, Forwarded
from shared.message.identity import Identity
from shared.message.incoming import Received

log = structlog.get_logger(__name__)


class ClaimLost(NotifyError):
    """Says that a claim renewed before a send belongs to another delivery now; ``answer`` is Redis' answer."""

    def __init__(self, answer: ClaimAnswer) -> None:
        self.answer = answer
        super().__init__(answer.verdict)


class Claim:
    """Claims the message that was ``received``, and remembers until when the lease surely covers a send.

    ``budget_s`` is how long a claim covers the handling, seconds. With ``proceed`` the delivery goes on without a claim
    while Redis is unavailable. ``held`` is True if the last answer was yes.
    """

    __slots__ = (
        "_budget_s",
        "_claims",
        "_covered_until",
        "_doubt",
        "_hash",
        "_identity",
        "_proceed",
        "_received",
        "held",
        "key",
    )

    def __init__(
        self, claims: Claims, received: Received, identity: Identity, *, budget_s: float, proceed: bool
    ) -> None:
        self._claims = claims
        self._received = received
        self._identity = identity
        #: the request_id within its sender's namespace
        self.key = identity.key
        self._hash = identity.hash
        self._budget_s = budget_s
        self._proceed = proceed
        self._covered_until = 0.0
        self._doubt: Doubt | None = None
        self.held = False

    @property
    def request_id(self) -> str:
        return self._identity.request_id

    @property
    def names(self) -> dict[str, str]:
        """Returns the fields that name the message in a log line."""
        return self._identity.names

    async def take(self) -> ClaimAnswer:
        """Claims the message, or renews the claim. Raises RedisUnavailable, unless ``proceed`` is True."""
        asked_at = time.monotonic()
        try:
            answer = await self._claim_by(self._hash)
            if answer.verdict == "reused":
                answer = await self._claim_by_older_hash(answer)
        except RedisUnavailable as exc:
            if not self._proceed:
                raise
            log.warning("proceeding_without_a_claim", **self.names, error=str(exc))
            answer = ClaimAnswer("yes")
        else:
            self._received.incoming.claimed |= answer.verdict == "yes"
        # Count from the request, not from the answer: the lease may have begun that early.
        self._covered_until = asked_at + self._budget_s
        self._doubt = answer.doubt or self._doubt
        self.held = answer.verdict == "yes"
        return answer

    async def _claim_by_older_hash(self, reused: ClaimAnswer) -> ClaimAnswer:
        """Claims by the hashes of earlier versions, because the record has another hash; else it stays ``reused``.

        The record of a message that an earlier version has handled keeps that version's hash to its end.
        """
        for older in dict.fromkeys(self._identity.older()):
            if older != self._hash:
                answer = await self._claim_by(older)
                if answer.verdict != "reused":
                    self._hash = older
                    return answer
        return reused

    def _claim_by(self, content_hash: str) -> Coroutine[Any, Any, ClaimAnswer]:
        received, state = self._received, self._received.state
        return self._claims.claim(
            self._channel,
            self.key,
            received.incoming.token,
            state.replay,
            state.attempt,
            content_hash,
            received.was_recorded,
        )

    def count_sends(self, *, unanswered: int, unserved: int) -> None:
        """Counts a doubt of this claim by its sends, if the message goes to several targets.

        A dead worker may have sent to at most ``unanswered`` of them at once; if the record was lost, then perhaps to
        all ``unserved`` ones. One has been counted with the claim.
        """
        if self._doubt is not None:
            sends = unanswered if self._doubt == "takeover" else unserved
            self._claims.count(self._doubt, max(0, sends - 1))
            self._doubt = None

    async def keep(self, send_s: float) -> None:
        """Makes sure that the lease covers a send of ``send_s`` seconds. Raises ClaimLost, RedisUnavailable."""
        if self._covered_until - time.monotonic() < send_s:
            answer = await self.take()
            if not self.held:
                raise ClaimLost(answer)

    async def renew(self) -> None:
        """Renews the claim before a publish is repeated; the publish is repeated regardless of the answer."""
        try:
            await self.take()
        except RedisUnavailable as exc:
            log.warning("claim_not_renewed", **self.names, error=str(exc))

    def done(self, provider: str, provider_id: str) -> Coroutine[Any, Any, None]:
        """Records D (done): delivered, or skipped if ``provider`` is ''. Raises RedisUnavailable."""
        token = self._received.incoming.token
        return self._claims.done(self._channel, self.key, token, self._hash, provider, provider_id)

    async def forwarded(self, n: Forwarded) -> None:
        """Records F (forwarded): only a copy at attempt ``n`` or above may be claimed. Raises RedisUnavailable."""
        received = self._received
        await self._claims.forwarded(self._channel, self.key, received.incoming.token, received.state.replay, n)

    async def release(self) -> None:
        """Releases the claim of a message that was not tried. If Redis does not answer, the delivery gets a new token.

        A release without an answer may still arrive later. With the same token it would end a later claim of this
        message in the middle of its send, and another copy could be sent at the same time.
        """
        incoming = self._received.incoming
        try:
            await self._claims.release(self._channel, self.key, incoming.token)
        except RedisUnavailable as exc:
            incoming.renew_token()
            log.info("release_left_to_the_lease", **self.names, error=str(exc))

    @property
    def _channel(self) -> str:
        return self._received.incoming.lane.channel
