"""Names the keys of a push's ``data`` that its sender cannot use.

FCM refuses a message with a reserved key:
https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages#Message (field ``data``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RESERVED = frozenset({"from", "message_type"})
_RESERVED_PREFIXES = ("google", "gcm")


def reserved_keys(data: Mapping[str, Any]) -> list[str]:
    """Returns the keys of ``data`` that FCM reserves for itself, in their order."""
    return [key for key in data if key in _RESERVED or key.startswith(_RESERVED_PREFIXES)]
