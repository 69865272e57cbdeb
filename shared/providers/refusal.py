"""Translates an HTTP status into a refusal, for answers without a known code of the vendor."""

from __future__ import annotations

from shared.errors import Refusal

# A front end that knows no recipient counts the calls of the account: 429.
# 403 is missing on purpose: a proxy on the way may send it, so only a vendor's own code may mean refused credentials.
_BY_HTTP_STATUS = {401: Refusal.CREDENTIALS, 413: Refusal.PAYLOAD_REJECTED, 429: Refusal.RATE_EXCEEDED}


def by_http_status(status: int) -> Refusal:
    """Returns the refusal for an HTTP status."""
    return _BY_HTTP_STATUS.get(status, Refusal.UNAVAILABLE)
