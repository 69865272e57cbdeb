"""Reads the recipient from a message, the same for every provider of SMS."""

from __future__ import annotations

from shared.errors import Refusal, Refused
from shared.message.phone_number import e164
from shared.providers.provider import Message


def number_of(message: Message, region: str | None) -> str:
    """Returns the target as ``+`` and digits; ``region`` is that of a number without a country code.

    Raises Refused (``RECIPIENT_INVALID``).
    """
    try:
        return e164(message.target, region)
    except ValueError as exc:
        raise Refused(Refusal.RECIPIENT_INVALID, f"sms: the target {exc}") from exc
