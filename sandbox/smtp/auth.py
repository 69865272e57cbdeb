"""Implements AUTH PLAIN and LOGIN (RFC 4954): every client is accepted, and only the user name matters."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable

Challenge = Callable[[str], Awaitable[str]]


class AuthRefused(Exception):
    """Carries the SMTP reply as its text."""


async def read_user(mechanism: str, initial: str, challenge: Challenge) -> str:
    """Returns the user name that the client presents. Raises AuthRefused with the reply that is due.

    ``challenge`` sends ``334 <text>`` and returns the client's line.
    """
    if mechanism == "PLAIN":
        parts = _decoded(initial or await challenge("")).split(b"\0")
        if len(parts) != 3:
            raise AuthRefused("501 5.5.2 Cannot read the credentials")
        return parts[1].decode("utf-8", "replace")
    if mechanism == "LOGIN":
        user = _decoded(initial or await challenge(_encoded(b"Username:")))
        _decoded(await challenge(_encoded(b"Password:")))
        return user.decode("utf-8", "replace")
    raise AuthRefused("504 5.5.4 Unrecognized authentication type")


def _decoded(line: str) -> bytes:
    if line == "*":
        raise AuthRefused("501 5.7.0 Authentication cancelled")
    if line == "=":
        return b""
    try:
        return b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AuthRefused("501 5.5.2 Not base64") from error


def _encoded(text: bytes) -> str:
    return b64encode(text).decode("ascii")
