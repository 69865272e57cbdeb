"""Checks who calls: API keys, of which it knows only the SHA-256, with their scopes, and the tokens of users.

An API key is a service's, and may do for anybody what its scopes allow. A token is one user's, and is admitted only by
the endpoints that say so, for that user only (``shared.realtime.tokens``).
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from werkzeug.datastructures import Headers

from gateway.http.problem import Problem
from shared.errors import BadSettings
from shared.providers.urls import is_loopback
from shared.realtime.tokens import Claims, TokenRefused, Tokens, looks_like_token
from shared.settings.groups.gateway import ApiKey
from shared.settings.settings import Settings

Scope = Literal["send", "operate", "tokens"]

#: The caller's name while no key is configured (development); no key may have it, see ``check_keys``.
ANONYMOUS = "anonymous"
#: The name of a caller with a user's token. The log does not name users.
BY_TOKEN = "user's token"
#: Two, so that a client can replace one key while the other is in use.
MAX_KEYS_PER_CLIENT = 2
_CHALLENGE = 'Bearer realm="notifications"'


@dataclass(frozen=True, slots=True)
class Caller:
    """Says who calls an endpoint that users may call too. ``claims`` are those of a user's token, None with a key."""

    name: str
    claims: Claims | None = None

    def check_user(self, user_id: str) -> None:
        """Raises Problem 403 if the caller may do nothing for this user."""
        if self.claims is not None and self.claims.user_id != user_id:
            raise Problem(403, "this token belongs to another user", [("user_id", "is not the token's user")])


class Keyring:
    """Finds the client of a key. Without any keys, it admits everyone as ``ANONYMOUS``: ``check_keys`` refuses that in
    production.
    """

    def __init__(self, keys: Sequence[ApiKey], tokens: Tokens | None = None) -> None:
        self._keys = [(key.sha256.encode(), key) for key in keys]
        self._tokens = tokens or Tokens([])

    def client(self, headers: Headers, scope: Scope) -> str:
        """Returns the caller's name. Raises Problem 401 (no key or an unknown one) or 403 (the key lacks the scope)."""
        if not self._keys:
            return ANONYMOUS
        key = self._find(_presented(headers))
        if scope not in key.scopes:
            raise Problem(403, f"this key does not have the scope {scope!r}")
        return key.client

    def caller(self, headers: Headers, scope: Scope) -> Caller:
        """Returns a user with a token of their own, or the client of a key with this scope. Raises Problem 401 or 403.

        A token is checked also where no key is needed: a caller that sends one acts as its user.
        """
        token = _bearer(headers)
        if not looks_like_token(token):
            return Caller(self.client(headers, scope))
        try:
            return Caller(BY_TOKEN, self._tokens.verify(token))
        except TokenRefused as refused:
            raise invalid_token(str(refused)) from None

    def optional_client(self, headers: Headers, scope: Scope) -> str:
        """Returns the caller's name, ``ANONYMOUS`` if there is no key. Raises Problem 401 or 403 for a wrong key.

        A user's token counts as no key: it may be the one that the caller wants to replace.
        """
        token = _bearer(headers)
        without = not headers.get("X-API-Key") and (not token or looks_like_token(token))
        return ANONYMOUS if without else self.client(headers, scope)

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


def invalid_token(detail: str, field: str | None = None) -> Problem:
    """Returns the 401 for a token that cannot be used; ``field`` is the field of the body in which it came."""
    errors = [] if field is None else [(field, detail)]
    return Problem(401, detail, errors, headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'})


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


def _bearer(headers: Headers) -> str:
    kind, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _presented(headers: Headers) -> str:
    if token := _bearer(headers):
        return token
    key = headers.get("X-API-Key", "").strip()
    if not key:
        raise key_required()
    return key


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": _CHALLENGE})
