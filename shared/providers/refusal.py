"""What a vendor's no means: the vocabulary of the providers' tables, and the one way from there to our errors."""

from __future__ import annotations

from enum import Enum, auto

from shared.errors import DeliveryError, Impossible, Misconfigured, Throttled, Unavailable


class Refusal(Enum):
    """One row's verdict. Anything that no table knows is ``DOWN``: only the proven hopeless is given up."""

    #: this recipient cannot be reached, ever
    RECIPIENT = auto()
    #: this content will not be taken, ever
    PAYLOAD = auto()
    #: too fast, perhaps only for this recipient
    THROTTLED = auto()
    #: the quota of our whole account is used up
    QUOTA = auto()
    #: the vendor is ill
    DOWN = auto()
    #: something behind the vendor is ill, for this recipient only: the vendor's breaker must not hear of it
    BEYOND = auto()
    #: our account or credentials: no message of ours would pass
    OURS = auto()

    def error(self, detail: str, retry_after_s: float | None = None) -> DeliveryError:
        """The error to raise. ``detail`` names codes, never the vendor's own words: they may quote the recipient."""
        match self:
            case Refusal.RECIPIENT:
                return Impossible("recipient_invalid", detail)
            case Refusal.PAYLOAD:
                return Impossible("payload_rejected", detail)
            case Refusal.THROTTLED:
                return Throttled(detail, retry_after_s, "recipient")
            case Refusal.QUOTA:
                return Throttled(detail, retry_after_s, "provider")
            case Refusal.BEYOND:
                return Unavailable(detail, blames_provider=False, retry_after_s=retry_after_s)
            case Refusal.OURS:
                return Misconfigured(detail)
            case Refusal.DOWN:
                return Unavailable(detail, retry_after_s=retry_after_s)


# 403 is missing on purpose: it may come from a proxy between us, so only a vendor's own code makes it ours.
_BY_HTTP_STATUS = {401: Refusal.OURS, 413: Refusal.PAYLOAD, 429: Refusal.THROTTLED}


def by_http_status(status: int) -> Refusal:
    """What an HTTP status says when the vendor's own code says nothing."""
    return _BY_HTTP_STATUS.get(status, Refusal.DOWN)
