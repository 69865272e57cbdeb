"""Hides people's addresses: an operator can still tell two of them apart, and no reader can use one.

``mask`` keeps a few characters of an address for people to read; ``digest`` keeps none and is for records and logs.
The values of variables are hidden completely: they are names, codes and links, and no rule could tell which of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: Every value under these names, in any letters, counts as an address, at any depth of an envelope.
_ADDRESSES = frozenset({"recipient", "email", "phone", "pushtokens"})
#: No value under this name is shown.
_HIDDEN = "variables"
#: An address with fewer characters is hidden completely, because its last two would reveal it.
_SHOW_END_FROM, _END = 8, 2
#: A value with fewer characters tells nothing, and would be found inside most words.
_LEAST_TELLING = 3


def mask_addresses(document: Any) -> Any:
    """Returns a copy of a decoded envelope, valid or not, with every address masked and every variable hidden."""
    if isinstance(document, dict):
        return {name: _shown(_plain(name), value) for name, value in document.items()}
    if isinstance(document, list):
        return [mask_addresses(value) for value in document]
    return document


def mask(address: str) -> str:
    """Returns ``a***@example.com`` for an e-mail address, ``***42`` for a long number or token, else ``***``."""
    local, at, domain = address.rpartition("@")
    if at and local:
        return f"{local[0]}***@{domain}"
    return f"***{address[-_END:]}" if len(address) >= _SHOW_END_FROM else "***"


def without_values(text: str, variables: Mapping[str, Any]) -> str:
    """Returns ``text`` with ``***`` for each value of ``variables`` in it, in any letters."""
    lowered = text.lower()
    values = {value for value in _texts(variables) if len(value) >= _LEAST_TELLING and value.lower() in lowered}
    for value in sorted(values, key=len, reverse=True):
        text = re.sub(re.escape(value), "***", text, flags=re.IGNORECASE)
    return text


def digest(target: str) -> str:
    """Returns 16 hex digits of SHA-256: they tell the targets of one message apart without showing any of them."""
    return hashlib.sha256(target.encode()).hexdigest()[:16]


def _plain(name: str) -> str:
    """Returns a name as it is compared: ``Push-Tokens`` and ``pushTokens`` are ``push_tokens``."""
    return name.casefold().replace("_", "").replace("-", "")


def _shown(name: str, value: Any) -> Any:
    if name == _HIDDEN:
        return _masked(value, lambda _: "***")
    return _masked(value, mask) if name in _ADDRESSES else mask_addresses(value)


def _masked(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _masked(inner, hide) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, hide) for inner in value]
    if value is None:
        return None
    return hide(value) if isinstance(value, str) else "***"


def _texts(variables: Mapping[str, Any]) -> Iterator[str]:
    """Yields every text and number in ``variables``, at any depth."""
    todo: list[Any] = [variables]
    while todo:
        value = todo.pop()
        if isinstance(value, Mapping):
            todo += value.values()
        elif isinstance(value, (list, tuple)):
            todo += value
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
            yield str(value)
