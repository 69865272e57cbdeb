"""Hides people's addresses: an operator can still tell two of them apart, and no reader can use one.

``mask`` keeps a few characters of an address for people to read; ``digest`` keeps none and is for records and logs.
"""

from __future__ import annotations

import hashlib
from typing import Any

#: Every value under these names counts as an address, at any depth of an envelope.
_ADDRESSES = frozenset({"recipient", "email", "phone", "push_tokens"})
#: An address with fewer characters is hidden completely, because its last two would reveal it.
_SHOW_END_FROM, _END = 8, 2


def mask_addresses(document: Any) -> Any:
    """Returns a copy of a decoded envelope, valid or not, with every address masked."""
    if isinstance(document, dict):
        return {
            name: _masked(value) if name in _ADDRESSES else mask_addresses(value) for name, value in document.items()
        }
    if isinstance(document, list):
        return [mask_addresses(value) for value in document]
    return document


def mask(address: str) -> str:
    """Returns ``a***@example.com`` for an e-mail address, ``***42`` for a long number or token, else ``***``."""
    local, at, domain = address.rpartition("@")
    if at and local:
        return f"{local[0]}***@{domain}"
    return f"***{address[-_END:]}" if len(address) >= _SHOW_END_FROM else "***"


def digest(target: str) -> str:
    """Returns 16 hex digits of SHA-256: they tell the targets of one message apart without showing any of them."""
    return hashlib.sha256(target.encode()).hexdigest()[:16]


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    if value is None:
        return None
    return mask(value) if isinstance(value, str) else "***"
