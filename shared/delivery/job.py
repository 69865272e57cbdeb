"""A readable message that is being handled: what came, what it says, and its claim."""

from __future__ import annotations

from dataclasses import dataclass

from shared.idempotency.claim import Claim
from shared.message.envelope import Envelope
from shared.message.incoming import Received


@dataclass(slots=True)
class Job:
    """``called``: a request was sent to a provider during this handling."""

    received: Received
    envelope: Envelope
    claim: Claim
    called: bool = False

    @property
    def request_id(self) -> str:
        return self.envelope.request_id

    def expires_ms(self, life_s: float) -> int:
        """The end of its life, milliseconds since the epoch: ``expires_at``, else ``life_s`` after it was accepted."""
        explicit = self.envelope.expires_at
        if explicit is not None and not self.received.state.ignore_expiry:
            return round(explicit.timestamp() * 1000)
        return self.received.accepted_ms + round(life_s * 1000)
