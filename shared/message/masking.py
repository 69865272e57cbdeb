"""Addresses of people, shown so that an operator can tell two apart and nobody can use one."""

from __future__ import annotations

from typing import Any

#: whatever stands under these names is an address, wherever in an envelope somebody has put it
_ADDRESSES = frozenset({"recipient", "email", "phone", "push_tokens"})
#: shorter ones would be given away by their end
_SHOW_END_FROM, _END = 8, 2


def mask_addresses(document: Any) -> Any:
    """A copy of a decoded envelope, valid or not, with every address masked."""
    if isinstance(document, dict):
        return {
            name: _masked(value) if name in _ADDRESSES else mask_addresses(value) for name, value in document.items()
        }
    if isinstance(document, list):
        return [mask_addresses(value) for value in document]
    return document


def mask(address: str) -> str:
    """``a***@example.com``, ``***42``, ``***``."""
    local, at, domain = address.rpartition("@")
    if at and local:
        return f"{local[0]}***@{domain}"
    return f"***{address[-_END:]}" if len(address) >= _SHOW_END_FROM else "***"


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    if value is None:
        return None
    return mask(value) if isinstance(value, str) else "***"
