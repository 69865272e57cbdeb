"""One message in hand: what it says, where it is in its life, and its claim."""

from __future__ import annotations

from dataclasses import dataclass

from shared.broker.incoming import Incoming
from shared.clock import now_ms, parse_rfc3339
from shared.idempotency.claim import Claim
from shared.message.envelope import Envelope
from shared.message.headers import Travel, read_travel


@dataclass(slots=True)
class Job:
    """``accepted_ms``: when its life began: accepted-at, else the AMQP timestamp, else now."""

    channel: str
    incoming: Incoming
    envelope: Envelope
    travel: Travel
    accepted_ms: int
    claim: Claim
    #: a call reached a provider in this handling
    called: bool = False

    @property
    def request_id(self) -> str:
        return self.envelope.request_id

    def expires_ms(self, life_s: float) -> int:
        """The end of its life, milliseconds: ``expires_at``, else ``life_s`` after it was accepted."""
        explicit = self.envelope.expires_at
        if explicit is not None and not self.travel.ignore_expiry:
            return round(explicit.timestamp() * 1000)
        return self.accepted_ms + round(life_s * 1000)


def read_life(incoming: Incoming) -> tuple[Travel, int]:
    """The travel headers and the start of life in ms; whoever sent no accepted-at is counted from now.

    A life never begins in the future: a timestamp written in milliseconds instead of seconds would make it endless.
    """
    travel = read_travel(incoming.headers)
    accepted_ms = parse_rfc3339(travel.accepted_at) if travel.accepted_at else None
    now = now_ms()
    return travel, min(accepted_ms or incoming.timestamp_ms or now, now)
