"""Checks API keys, of which it knows only the SHA-256, and their scopes."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from werkzeug.datastructures import Headers

from gateway.http.problem import Problem
from shared.errors import BadSettings
from shared.providers.urls import is_loopback
from shared.settings.groups.gateway import ApiKey
from shared.settings.settings import Settings

Scope = Literal["send", "operate"]

#: The caller's name while no key is configured (development); no key may have it, see ``check_keys``.
ANONYMOUS = "anonymous"
#: Two, so that a client can replace one key while the other is in use.
MAX_KEYS_PER_CLIENT = 2


class Keyring:
    """Finds the client of a key. Without any keys, it admits everyone as ``ANONYMOUS``: ``check_keys`` refuses that in
    production.
    """

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = [(key.sha256.encode(), key) for key in keys]

    def client(self, headers: Headers, scope: Scope) -> str:
        """Returns the caller's name. Raises Problem 401 (no key or an unknown one) or 403 (the key lacks the scope)."""
        if not self._keys:
            return ANONYMOUS
        key = self._find(_presented(headers))
        if scope not in key.scopes:
            raise Problem(403, f"this key does not have the scope {scope!r}")
        return key.client

    def _find(self, presented: str) -> ApiKey:
        digest = hashlib.sha256(presented.encode()).hexdigest().encode()
        found = None
        # Compare with every key, each in constant time: the time taken must not reveal which key was close.
        for known, key in self._keys:
            if hmac.compare_digest(known, digest):
                found = key
        if found is None:
            raise _unauthorized("unknown key")
        return found


def key_required() -> Problem:
    """Returns the 401 for a request without a key."""
    return _unauthorized("a key is required; send Authorization: Bearer <key>, or X-API-Key: <key>")


def check_keys(settings: Settings) -> None:
    """Checks the configured keys. Raises BadSettings if the gateway must not start with them."""
    if settings.production and not settings.gateway.api_keys:
        raise BadSettings([("API_KEYS", "production needs at least one key: ./notify key new CLIENT --scope send")])
    if not (settings.gateway.api_keys or settings.gateway.open_hosts or is_loopback(settings.listen_host)):
        why = (
            f"without API_KEYS, everyone who reaches {settings.listen_host} may send and read notifications: set "
            "API_KEYS, or name in GATEWAY_OPEN_HOSTS the hosts that callers use for this gateway"
        )
        raise BadSettings([("GATEWAY_HOST", why)])
    counts = Counter(key.client for key in settings.gateway.api_keys)
    problems = [
        ("API_KEYS", f"client {client} has {count} keys; at most {MAX_KEYS_PER_CLIENT} are allowed: remove the oldest")
        for client, count in counts.items()
        if count > MAX_KEYS_PER_CLIENT
    ]
    if ANONYMOUS in counts:
        # Its request_ids would be those of the messages without a client.
        problems.append(("API_KEYS", f"the client name {ANONYMOUS} is reserved: choose another one"))
    if problems:
        raise BadSettings(problems)


def _presented(headers: Headers) -> str:
    kind, _, token = headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    key = headers.get("X-API-Key", "").strip()
    if not key:
        raise key_required()
    return key


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="notifications"'})
