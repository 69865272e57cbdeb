"""Signs and verifies the tokens with which devices prove whose inbox they may see: JSON Web Tokens (RFC 7519).

HS256 is the only algorithm: a token that names another one, or none, is refused. The first key of SOCKET_TOKEN_KEYS
signs and every key verifies, so a key is replaced in three steps: append the new one everywhere, put it first, remove
the old one after the life of a refresh token. A backend that has a key may sign tokens itself.

There are two kinds, and their audiences keep them apart. A *token* opens connections and is never stored. A *refresh
token* lives longer and is only good for a new pair; ``refresh`` says how often.

============  ==========================================================================================
claim         meaning
============  ==========================================================================================
``sub``       the user_id; it must be text
``aud``       ``notify`` (a token) or ``notify-refresh``; a list is refused
``iss``       who signed it: ``notify``, or any other text if a backend signs by itself
``iat``       when it was signed, seconds
``exp``       when it ends, seconds; at most 24 h after ``iat`` for a token
``channels``  optional: names of channels, or patterns such as ``news.*``, that the device may subscribe
============  ==========================================================================================

All of the first five are required; without ``exp`` a token would be valid for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jwt

from shared import clock
from shared.errors import NotifyError
from shared.message.text import identifier
from shared.realtime.close_codes import BAD_TOKEN, TOKEN_EXPIRED, WRONG_USER, CloseCode
from shared.settings.groups.sockets import TokenKey

ALGORITHM = "HS256"
ISSUER = "notify"
AUDIENCE = "notify"
REFRESH_AUDIENCE = "notify-refresh"

#: How long a token is valid, seconds: unless it is said otherwise, and at most.
LIFE_S, MOST_LIFE_S = 900, 86_400
#: How long a refresh token is valid, seconds.
REFRESH_LIFE_S = 30 * 86_400
#: By how much the clocks of two machines may differ, seconds.
LEEWAY_S = 10
#: Longest token that is looked at, characters: it has to fit into the head of a request. Whatever is signed here fits.
MOST_CHARS = 6144
MOST_USER_ID_CHARS = 256
#: Most patterns in ``channels``, and the longest one, characters.
MOST_CHANNELS, MOST_CHANNEL_CHARS = 20, 128
CHANNEL_PATTERN = r"[A-Za-z0-9_.:/@-]*\*?"
CHANNEL_RULE = "must be 1 to 128 characters of A-Z a-z 0-9 _ . : / @ -, of which the last one may be *"

_REQUIRED = ("exp", "iat", "aud", "iss", "sub")
_find_channel = re.compile(CHANNEL_PATTERN).fullmatch


class TokenRefused(NotifyError):
    """Says why a token or a ticket cannot be used. ``close`` is the code with which its connection ends.

    The text may be shown to the device: it never quotes the token.
    """

    close: ClassVar[CloseCode]


class BadToken(TokenRefused):
    """Says that it is malformed, signed with an unknown key, of another kind, or was never valid."""

    close = BAD_TOKEN


class TokenExpired(TokenRefused):
    """Says that it was valid and is over: the device comes back with a fresh one."""

    close = TOKEN_EXPIRED


class WrongUser(TokenRefused):
    """Says that it is valid, but belongs to another user."""

    close = WRONG_USER


class NoTokenKeys(NotifyError):
    """Says that nothing can be signed, because SOCKET_TOKEN_KEYS is not set."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Holds what a valid token or ticket grants: whose inbox, which channels, and until when."""

    user_id: str
    channels: tuple[str, ...]
    expires_ms: int

    def allows(self, channel: str) -> bool:
        """Tells whether the device may subscribe ``channel``: a pattern names it, or begins it and ends in ``*``."""
        return any(
            channel.startswith(pattern[:-1]) if pattern.endswith("*") else channel == pattern
            for pattern in self.channels
        )

    def check_user(self, user_id: str) -> None:
        """Raises WrongUser unless they belong to this user."""
        if self.user_id != user_id:
            raise WrongUser("the token belongs to another user")


@dataclass(frozen=True, slots=True)
class RefreshClaims:
    """Holds what a valid refresh token grants, and its place in the row of those that replaced each other.

    All of them are one ``family``, and count from 0. ``life_s`` is the life of the tokens that belong to them.
    """

    user_id: str
    channels: tuple[str, ...]
    life_s: int
    family: str
    number: int


class Signed(NamedTuple):
    """Holds a token, and when it ends."""

    text: str
    expires_ms: int


class _Encoder(json.JSONEncoder):
    """Writes letters beyond ASCII as they are: escaped, a user_id could be three times as long."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "ensure_ascii": False})


class Tokens:
    """Signs and verifies tokens with the keys of the settings. Use one from any thread."""

    def __init__(self, keys: Sequence[TokenKey]) -> None:
        self._keys = {key.kid: key.secret.get_secret_value().encode() for key in keys}
        self._jwt = jwt.PyJWT()

    def __bool__(self) -> bool:
        """Tells whether there are any keys."""
        return bool(self._keys)

    def sign(self, user_id: str, channels: Sequence[str] = (), life_s: int = LIFE_S) -> Signed:
        """Returns a token. Raises NoTokenKeys, and ValueError if ``verify`` would refuse the token."""
        if not 0 < life_s <= MOST_LIFE_S:
            raise ValueError(f"a token lives 1 to {MOST_LIFE_S} seconds")
        return self._sign(user_id, AUDIENCE, life_s, {"channels": _channels(channels)} if channels else {})

    def verify(self, token: str, user_id: str | None = None) -> Claims:
        """Returns what the token grants. Raises BadToken or TokenExpired, and WrongUser if it is not ``user_id``'s."""
        payload = self._payload(token, AUDIENCE)
        if payload["exp"] - payload["iat"] > MOST_LIFE_S:
            raise BadToken(f"the token is valid for longer than {MOST_LIFE_S // 3600} hours")
        claims = Claims(payload["sub"], payload["channels"], int(payload["exp"] * 1000))
        if user_id is not None:
            claims.check_user(user_id)
        return claims

    def sign_refresh(self, claims: RefreshClaims) -> Signed:
        """Returns a refresh token. Raises NoTokenKeys or ValueError."""
        more = {"channels": _channels(claims.channels), "life": claims.life_s}
        return self._sign(
            claims.user_id, REFRESH_AUDIENCE, REFRESH_LIFE_S, {**more, "family": claims.family, "number": claims.number}
        )

    def verify_refresh(self, token: str) -> RefreshClaims:
        """Returns what the refresh token grants. Raises BadToken or TokenExpired."""
        payload = self._payload(token, REFRESH_AUDIENCE)
        family, number, life_s = payload.get("family"), _whole(payload, "number"), _whole(payload, "life")
        if not isinstance(family, str) or number < 0 or not 0 < life_s <= MOST_LIFE_S:
            raise BadToken("the refresh token was not made by this system")
        return RefreshClaims(payload["sub"], payload["channels"], life_s, family, number)

    def _sign(self, user_id: str, audience: str, life_s: int, more: Mapping[str, Any]) -> Signed:
        if not self._keys:
            raise NoTokenKeys("SOCKET_TOKEN_KEYS is not set")
        kid, secret = next(iter(self._keys.items()))
        now_s = clock.now_ms() // 1000
        expires_s = now_s + life_s
        payload = {"iss": ISSUER, "aud": audience, "sub": _user_id(user_id), "iat": now_s, "exp": expires_s, **more}
        token = self._jwt.encode(payload, secret, ALGORITHM, {"kid": kid}, json_encoder=_Encoder)
        return Signed(token, expires_s * 1000)

    def _payload(self, token: str, audience: str) -> dict[str, Any]:
        """Returns the claims of a valid token, with ``channels`` as a tuple."""
        payload = self._decoded(token, audience)
        if not all(_is_number(payload[name]) for name in ("exp", "iat")):
            raise BadToken("the token's exp and iat must be numbers")
        if not isinstance(payload["iss"], str):
            raise BadToken("the token's iss must be text")
        try:
            _user_id(payload["sub"])
            return {**payload, "channels": _channels(payload.get("channels") or ())}
        except ValueError as exc:
            raise BadToken(f"the token cannot be used: {exc}") from None

    def _decoded(self, token: str, audience: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._jwt.decode(
                token,
                self._secret(token),
                algorithms=[ALGORITHM],
                audience=audience,
                leeway=LEEWAY_S,
                options={"require": list(_REQUIRED), "strict_aud": True},
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpired("the token has expired") from None
        except jwt.MissingRequiredClaimError as exc:
            raise BadToken(f"the token has no {exc.claim}") from None
        except jwt.ImmatureSignatureError:
            raise BadToken("the token is not valid yet: compare the clocks of the machines") from None
        except jwt.InvalidAudienceError:
            raise BadToken(f"the token's audience must be {audience}") from None
        except jwt.InvalidSignatureError:
            raise BadToken("the token's signature is wrong") from None
        except (jwt.PyJWTError, UnicodeError, RecursionError):
            # PyJWT's own text may quote parts of what it was given.
            raise BadToken("this is not a valid token") from None
        return found

    def _secret(self, token: str) -> bytes:
        if not self._keys:
            raise BadToken("no token is valid here, because SOCKET_TOKEN_KEYS is not set")
        if len(token) > MOST_CHARS:
            raise BadToken(f"a token has at most {MOST_CHARS} characters")
        kid = jwt.get_unverified_header(token).get("kid")
        secret = self._keys.get(kid) if isinstance(kid, str) else None
        if secret is None:
            raise BadToken("the token names no key of this system in its kid")
        return secret


def looks_like_token(text: str) -> bool:
    """Tells whether a credential is meant to be a token. An API key made by ``./notify key`` never looks like one."""
    return text.startswith("eyJ") and text.count(".") == 2


def _user_id(value: str) -> str:
    if not 0 < len(value) <= MOST_USER_ID_CHARS:
        raise ValueError(f"the user_id must have 1 to {MOST_USER_ID_CHARS} characters")
    return identifier(value)


def _channels(values: Any) -> tuple[str, ...]:
    """Returns the patterns. Raises ValueError if they are no list of a few short texts."""
    if not isinstance(values, (list, tuple)) or len(values) > MOST_CHANNELS:
        raise ValueError(f"channels must be a list of at most {MOST_CHANNELS} patterns")
    for value in values:
        if not isinstance(value, str) or not 0 < len(value) <= MOST_CHANNEL_CHARS or not _find_channel(value):
            raise ValueError(f"each of channels {CHANNEL_RULE}")
    return tuple(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(payload: Mapping[str, Any], name: str) -> int:
    """Returns a whole number, and -1 for everything else."""
    value = payload.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1
