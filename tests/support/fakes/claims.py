"""Acts as the claims in Redis, in memory: it decides by the plain table of their transitions."""

from __future__ import annotations

from collections import Counter

from shared.clock import now_ms
from shared.idempotency.claims import ClaimAnswer, Claims, Doubt, Forwarded
from shared.message.identity import scoped_id
from tests.models import claim_table
from tests.models.claim_table import Record, Working


class TableClaims(Claims):
    """Holds the records by (channel, request_id in its sender's namespace). ``ahead_ms``: how far Redis' clock is ahead
    of this machine's; it is known from the first claim on.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.served: dict[str, set[str]] = {}
        self.counted: Counter[str] = Counter()
        self.ahead_ms = 0
        self._heard = False

    def record(self, request_id: str, client: str = "", channel: str = "push") -> Record:
        return self.records.get((channel, scoped_id(client, request_id)))

    def lapse(self, request_id: str, client: str = "") -> None:
        """Lets the lease of a claim run out."""
        held = self.record(request_id, client)
        assert isinstance(held, Working)
        self.records["push", scoped_id(client, request_id)] = claim_table.lapse(held)

    def now_ms(self) -> int:
        return now_ms() + (self.ahead_ms if self._heard else 0)

    def count(self, doubt: Doubt, sends: int = 1) -> None:
        self.counted["takeovers" if doubt == "takeover" else doubt] += sends

    async def claim(
        self, channel: str, request_id: str, token: str, replay: int, attempt: int, body_hash: str, recorded: bool
    ) -> ClaimAnswer:
        self._heard = True
        stored = self.records.get((channel, request_id))
        step = claim_table.claim(stored, token, replay, attempt, body_hash, recorded)
        self._store(channel, request_id, step)
        assert step.verdict is not None
        doubts: dict[str | None, Doubt] = {"takeovers": "takeover", "state_lost": "state_lost"}
        return ClaimAnswer(step.verdict, 60.0 if step.verdict == "held" else 0.0, doubts.get(step.counted))

    async def done(
        self, channel: str, request_id: str, token: str, body_hash: str, provider: str, provider_id: str
    ) -> None:
        outcome = f"{provider}:{provider_id}" if provider else "skipped"
        self._store(channel, request_id, claim_table.done(self._stored(channel, request_id), token, body_hash, outcome))

    async def forwarded(self, channel: str, request_id: str, token: str, replay: int, n: Forwarded) -> None:
        self._store(channel, request_id, claim_table.forwarded(self._stored(channel, request_id), token, replay, n))

    async def release(self, channel: str, request_id: str, token: str) -> None:
        self._store(channel, request_id, claim_table.release(self._stored(channel, request_id), token))

    async def served_tokens(self, request_id: str) -> set[str]:
        return set(self.served.get(request_id, ()))

    async def mark_token(self, request_id: str, token_digest: str) -> None:
        self.served.setdefault(request_id, set()).add(token_digest)

    def _stored(self, channel: str, request_id: str) -> Record:
        return self.records.get((channel, request_id))

    def _store(self, channel: str, request_id: str, step: claim_table.Step) -> None:
        self.records[channel, request_id] = step.record
        if step.counted is not None:
            self.counted[step.counted] += 1
