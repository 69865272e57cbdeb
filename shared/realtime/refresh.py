"""Exchanges refresh tokens: each is good for one new pair, and one that comes back later is taken for stolen.

All refresh tokens that replaced each other are a *family*, numbered from 0. Redis keeps the newest number of each
family, in ``notify-refresh:<family>``, from the first exchange on: making a pair needs no Redis. If a token comes that
was replaced before, two parties have the same token. Nobody can tell which of them is the thief, so the whole family is
revoked: both have to ask the backend. A device that never got the answer tries again at once, so within 30 seconds the
token before the newest is answered with the newest number again.

If Redis loses its records, families of which a token was used are refused from then on, and their users need a new pair
from the backend.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import redis
import structlog

from shared.realtime.close_codes import REVOKED
from shared.realtime.tokens import LIFE_S, REFRESH_LIFE_S, BadToken, RefreshClaims, Signed, TokenRefused, Tokens
from shared.redis.client import store_errors

log = structlog.get_logger(__name__)

#: How long the token before the newest one may come again, milliseconds.
REPEAT_MS = 30_000
#: The record outlives the last token of its family by a day, more than clocks differ.
_RECORD_S = REFRESH_LIFE_S + 86_400
_KEY = "notify-refresh:"
_SCRIPT = (Path(__file__).parent / "refresh.lua").read_text()
_UNKNOWN, _REVOKED, _STOLEN = -1, -2, -3


class TokenRevoked(TokenRefused):
    """Says that the refresh token was revoked, together with all that came from the same first one."""

    close = REVOKED


@dataclass(frozen=True, slots=True)
class Pair:
    """Holds a token and the refresh token that is good for the next pair."""

    token: Signed
    refresh_token: Signed


class Pairs:
    """Makes pairs of a token and a refresh token, and exchanges refresh tokens. Use one from any thread."""

    def __init__(self, tokens: Tokens, client: redis.Redis) -> None:
        self._tokens = tokens
        self._take = client.register_script(_SCRIPT)

    def make(self, user_id: str, channels: Sequence[str] = (), life_s: int = LIFE_S) -> Pair:
        """Returns the first pair of a new family. Raises NoTokenKeys, and ValueError for what no token can hold."""
        return self._pair(RefreshClaims(user_id, tuple(channels), life_s, secrets.token_hex(16), 0))

    def exchange(self, refresh_token: str) -> Pair:
        """Returns the next pair, with the same user, channels and life.

        Raises BadToken, TokenExpired or TokenRevoked, and RedisUnavailable if nobody knows whether it was replaced.
        """
        claims = self._tokens.verify_refresh(refresh_token)
        with store_errors():
            answer = cast(int, self._take(keys=[_KEY + claims.family], args=[claims.number, REPEAT_MS, _RECORD_S]))
        if answer == _STOLEN:
            log.warning("refresh_token_reused", family=claims.family, number=claims.number)
        if answer in (_REVOKED, _STOLEN):
            raise TokenRevoked("the refresh token was used before, so all that came from it are revoked")
        if answer == _UNKNOWN:
            raise BadToken("nothing is known about this refresh token any more")
        return self._pair(replace(claims, number=answer))

    def _pair(self, claims: RefreshClaims) -> Pair:
        token = self._tokens.sign(claims.user_id, claims.channels, claims.life_s)
        return Pair(token, self._tokens.sign_refresh(claims))
