"""Reads the sender from a provider's URL and the recipient from a message, the same for every provider of e-mail."""

from __future__ import annotations

from shared.errors import Refusal, Refused
from shared.message.email_address import EmailAddress, Mailbox, parse_address, parse_mailbox
from shared.providers.provider import Message
from shared.providers.urls import ProviderUrl


def sender_of(url: ProviderUrl) -> Mailbox:
    """Returns the option ``from``: ``a@b.example``, or ``Name <a@b.example>``. Raises BadSettings."""
    try:
        return parse_mailbox(url.required("from"))
    except ValueError as exc:
        raise url.problem(f"option from must be an e-mail address, or Name <address>; it {exc}") from exc


def recipient_of(message: Message, provider: str) -> EmailAddress:
    """Returns the target's address, its domain in ASCII. Raises Refused (``RECIPIENT_INVALID``)."""
    try:
        return parse_address(message.target)
    except ValueError as exc:
        raise Refused(Refusal.RECIPIENT_INVALID, f"{provider}: the target {exc}") from exc
