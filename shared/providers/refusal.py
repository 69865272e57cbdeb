"""What an HTTP status means where the vendor's own code says nothing."""

from __future__ import annotations

from shared.errors import Refusal

# 403 is missing on purpose: it may come from a proxy on the way, so only a vendor's own code blames our credentials.
_BY_HTTP_STATUS = {401: Refusal.CREDENTIALS, 413: Refusal.PAYLOAD_REJECTED, 429: Refusal.THROTTLED}


def by_http_status(status: int) -> Refusal:
    """The refusal that goes with an HTTP status."""
    return _BY_HTTP_STATUS.get(status, Refusal.UNAVAILABLE)
