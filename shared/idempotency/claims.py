"""Decides which delivery of a message may be sent, by one record in Redis per channel, sender and request_id.

::

    P:<token>:<lease end, ms>:<replay>:<attempt>:<hash>    in progress: one delivery holds the claim
    F:<attempt or end>:<replay>:<hash>                     forwarded: only a copy at or above it may be claimed
    D:<hash>:<provider>:<provider id>  or  D:<hash>:skipped    done

The record's key is ``notify:<channel>:<request_id>`` if the sender is not known, else
``notify:<channel>:@<client>:<request_id>`` (``scoped_id`` in ``shared/message/identity``): no sender can take an id
from another one.

Each transition is one Lua script in ``scripts/``, which Redis runs atomically: no two workers can decide at the same
moment. Times are compared with Redis' own clock. The rules passed an exhaustive search (``tests/models/claims``); each
simpler form of a rule loses a message or sends one twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from shared.idempotency.redis_clock import RedisClock
from shared.metrics import Metrics
from shared.redis.batch import Batcher
from shared.redis.client import TIMEOUT_S

Verdict = Literal["yes", "reused", "duplicate", "held", "stale"]
#: why a message that may be sent may have been sent already: another claim's lease ended, or Redis lost its record
Doubt = Literal["takeover", "state_lost"]
#: is above every attempt: this life of the message is over, and only a later replay may be claimed
END: Final = "end"
Forwarded = int | Literal["end"]

#: how much of a provider's id is kept, characters: there are millions of records
PROVIDER_ID_CHARS = 128
_LUA = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """Tells what to do with a delivery.

    ``yes``: send it. ``reused``: dead-letter it. ``duplicate``, ``stale``: ack it. ``held``: try again later;
    ``lease_left_s`` is how long the other delivery's lease still runs, seconds. With a ``doubt`` a send may be a second
    one, and has been counted.
    """

    verdict: Verdict
    lease_left_s: float = 0.0
    doubt: Doubt | None = None


_YES, _STATE_LOST, _TAKEN_OVER = (ClaimAnswer("yes", doubt=doubt) for doubt in (None, "state_lost", "takeover"))
#: the meanings of claim.lua's codes 0 to 5
_ANSWERS = (_YES, _YES, _TAKEN_OVER, ClaimAnswer("reused"), ClaimAnswer("duplicate"), ClaimAnswer("stale"))
_NOTHING_STORED = 0


class Claims:
    """Carries out the transitions of claims in Redis. Connects when first used.

    All methods raise RedisUnavailable if Redis cannot serve: it is down, silent, full, read-only or still loading. A
    transition that raised may have been carried out; every transition may be repeated. A ``token`` names one delivery
    and contains no colon. A ``request_id`` is one within its sender's namespace.
    """

    def __init__(
        self, redis_url: str, *, lease_s: float, ttl_s: float, metrics: Metrics, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._metrics = metrics
        self._clock = RedisClock()
        self._redis = Batcher(redis_url, timeout_s=timeout_s)
        lease_ms, ttl_ms = b"%d" % round(lease_s * 1000), b"%d" % round(ttl_s * 1000)
        self._claim = self._redis.script((_LUA / "claim.lua").read_text(), lease_ms, ttl_ms)
        self._done = self._redis.script((_LUA / "done.lua").read_text(), ttl_ms)
        self._forwarded = self._redis.script((_LUA / "forwarded.lua").read_text(), ttl_ms)
        self._release = self._redis.script((_LUA / "release.lua").read_text(), ttl_ms)
        self._mark_token = self._redis.script((_LUA / "mark_token.lua").read_text(), ttl_ms)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection to Redis."""
        await self._redis.close()

    async def claim(
        self,
        channel: str,
        request_id: str,
        token: str,
        replay: int,
        attempt: int,
        body_hash: str,
        recorded: bool,
    ) -> ClaimAnswer:
        """Claims the message for this delivery, or renews the lease if ``token`` holds the claim already.

        ``recorded``: an earlier delivery must have left a record. A doubt in the answer has been counted once.
        """
        asked_at = time.monotonic()
        code: int
        code, redis_ms = await self._claim.call(
            _key(channel, request_id), token.encode(), f"{replay}:{attempt}:{body_hash}".encode()
        )
        self._clock.heard(redis_ms, asked_at)
        if code < 0:
            return ClaimAnswer("held", -code / 1000)
        answer = _ANSWERS[code]
        if code == _NOTHING_STORED and (recorded or attempt > 0):
            answer = _STATE_LOST
        if answer.doubt is not None:
            self.count(answer.doubt)
        return answer

    def count(self, doubt: Doubt, sends: int = 1) -> None:
        """Counts sends that may be second ones."""
        (self._metrics.takeovers if doubt == "takeover" else self._metrics.state_lost).inc(sends)

    def now_ms(self) -> int:
        """Returns Redis' time, milliseconds since the epoch; until its first answer, this machine's."""
        return self._clock.now_ms()

    async def done(
        self, channel: str, request_id: str, token: str, body_hash: str, provider: str, provider_id: str
    ) -> None:
        """Records that the message is delivered, or skipped if ``provider`` is '': every later copy is a duplicate.

        If ``token`` has lost the claim, it is recorded all the same, and counted as a lost lease.
        """
        outcome = f"{provider}:{provider_id[:PROVIDER_ID_CHARS]}" if provider else "skipped"
        record = f"D:{body_hash}:{outcome}".encode("utf-8", "replace")
        if not await self._done.call(_key(channel, request_id), token.encode(), record):
            self._metrics.lease_lost.inc()

    async def forwarded(self, channel: str, request_id: str, token: str, replay: int, n: Forwarded) -> None:
        """Records a confirmed forward: only copies at attempt ``n`` or above, or of a later replay, may be claimed.

        If ``token`` has lost the claim, nothing is changed, and it is counted as a lost lease.
        """
        if not await self._forwarded.call(_key(channel, request_id), token.encode(), f"{n}:{replay}".encode()):
            self._metrics.lease_lost.inc()

    async def release(self, channel: str, request_id: str, token: str) -> None:
        """Releases the claim of a message that was not tried: it may be claimed at once, with the same attempt."""
        if not await self._release.call(_key(channel, request_id), token.encode()):
            self._metrics.lease_lost.inc()

    async def served_tokens(self, request_id: str) -> set[str]:
        """Returns the digests of this message's targets that have been served."""
        digests: list[bytes] = await self._redis.command(b"HKEYS", _tokens_key(request_id))
        return {digest.decode() for digest in digests}

    async def mark_token(self, request_id: str, token_digest: str) -> None:
        """Records that one target has been served. The record is kept as long as a done record."""
        await self._mark_token.call(_tokens_key(request_id), token_digest.encode())

    async def ping(self) -> None:
        """Returns if Redis accepts writes now. It writes, because a full or read-only Redis still answers PING."""
        await self._redis.command(b"SET", b"notify-probe", b"1", b"PX", b"1000")


def _key(channel: str, request_id: str) -> bytes:
    return f"notify:{channel}:{request_id}".encode()


def _tokens_key(request_id: str) -> bytes:
    # A separate prefix, because a request_id may contain colons.
    return f"notify-tokens:{request_id}".encode()
