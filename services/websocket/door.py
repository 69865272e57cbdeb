"""Decides who a device is, and whether a page may connect at all.

A device proves who it is with a token or a ticket. It stands, in order of preference, in the first frame (``auth``), in
the header ``Authorization``, in ``?ticket=`` or in ``?token=``. No cookie is ever read. With SOCKET_AUTH=open, which is
for development, a device without one is believed to be the user that its path or ``?user_id=`` names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from shared.message.text import identifier
from shared.realtime.tickets import take_ticket
from shared.realtime.tokens import MOST_USER_ID_CHARS, BadToken, Claims, Tokens
from shared.redis.batch import Batcher
from shared.settings.settings import Settings
from shared.store.values import Owner

_LOCAL_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?|null")


class Credential(NamedTuple):
    """Holds what a device shows: one of the two."""

    token: str | None = None
    ticket: str | None = None


class Guest(NamedTuple):
    """Says who a device is, which channels it may subscribe, and until when; ``expires_ms`` None: no end."""

    owner: Owner
    channels: tuple[str, ...]
    expires_ms: int | None


class Door:
    """Admits devices of one node."""

    def __init__(self, settings: Settings, redis: Batcher) -> None:
        self.open = settings.socket_auth == "open"
        self._tokens = Tokens(settings.sockets.token_keys)
        self._redis = redis
        self._origins = frozenset(settings.sockets.origins)
        self._production = settings.production

    def allows(self, origin: str | None) -> bool:
        """Tells whether pages of this origin may connect; None is no page at all."""
        if origin is None or origin in self._origins:
            return True
        # Development also takes pages of this machine, and ``null``: a page that was opened as a file.
        return not self._production and _LOCAL_ORIGIN.fullmatch(origin) is not None

    async def admit(self, credential: Credential | None, named: str | None) -> Guest:
        """Returns who the device is; ``named`` is the user that its path names.

        Raises TokenRefused (whose ``close`` is the code to end with), and RedisUnavailable if a ticket cannot be read.
        """
        if credential is None:
            return self._believe(named)
        if credential.token is not None:
            claims = self._tokens.verify(credential.token, named)
        else:
            claims = await take_ticket(self._redis, credential.ticket or "")
            if named is not None:
                claims.check_user(named)
        return _guest(claims)

    def _believe(self, named: str | None) -> Guest:
        if not self.open:
            raise BadToken("a token or a ticket is required")
        if named is None:
            raise BadToken("name a user in the path or in ?user_id=, or send a token or a ticket")
        if not 0 < len(named) <= MOST_USER_ID_CHARS:
            raise BadToken(f"a user_id has 1 to {MOST_USER_ID_CHARS} characters")
        try:
            return Guest(Owner(identifier(named)), (), None)
        except ValueError as exc:
            raise BadToken(f"the user_id {exc}") from None


def credential_of(authorization: str | None, query: Mapping[str, str]) -> Credential | None:
    """Returns what a request shows in its head; None if that is nothing."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return Credential(token=token.strip())
    if query.get("ticket"):
        return Credential(ticket=query["ticket"])
    return Credential(token=query["token"]) if query.get("token") else None


def _guest(claims: Claims) -> Guest:
    return Guest(Owner(claims.user_id), claims.channels, claims.expires_ms)
