"""Holds a readable message that is being handled: the delivery, its envelope and its claim."""

from __future__ import annotations

from dataclasses import dataclass

from shared.idempotency.claim import Claim
from shared.idempotency.local_copies import Turn
from shared.message.envelope import Envelope
from shared.message.incoming import Received


@dataclass(slots=True)
class Job:
    """Holds one message during its handling.

    ``called``: a request was sent to a provider during this handling. ``turn``: for which the other copies of the
    message in this process wait, if a handler handles it.
    """

    received: Received
    envelope: Envelope
    claim: Claim
    called: bool = False
    turn: Turn | None = None

    @property
    def request_id(self) -> str:
        return self.envelope.request_id

    @property
    def key(self) -> str:
        """Returns the request_id within its sender's namespace, which no other message of the channel has."""
        return self.claim.key

    @property
    def names(self) -> dict[str, str]:
        """Returns the fields that name the message in a log line."""
        return self.claim.names

    def step_aside(self) -> None:
        """Lets the other copies of this message in this process go on, because its forward may take very long."""
        if self.turn is not None:
            self.turn.step_aside()

    def expires_ms(self, life_s: float) -> int:
        """Returns the end of the message's life, milliseconds since the epoch.

        It is ``expires_at`` (unless an operator's replay ignores it), else ``life_s`` seconds after acceptance.
        """
        explicit = self.envelope.expires_at
        if explicit is not None and not self.received.state.ignore_expiry:
            return round(explicit.timestamp() * 1000)
        return self.received.accepted_ms + round(life_s * 1000)
