"""Takes a URL apart, and builds the bytes of a request to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

_DEFAULT_PORT = {"http": 80, "https": 443}
_URL = re.compile(r"[\x21-\x7e]+")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# Only the client sets these. With a second field of this name a server could read another request than we wrote.
_RESERVED = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "trailer", "te"}
)


class Origin(NamedTuple):
    """Identifies a server; requests to the same origin may share connections.

    ``host`` is a name or an address, without brackets.
    """

    scheme: str
    host: str
    port: int


class Target:
    """Holds the parts of one URL. Raises ValueError if it is not http(s), holds credentials, or is not ASCII.

    The errors do not quote the URL, because a provider's URL may hold its account.
    """

    __slots__ = ("_head", "_headers", "_start", "origin")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if not _URL.fullmatch(url) or parts.scheme not in _DEFAULT_PORT or not parts.hostname or "@" in parts.netloc:
            raise ValueError("the URL must be http(s)://host[:port]/path, in ASCII, without credentials")
        # An empty or too long label would raise this UnicodeError later, when the name is resolved, and not OSError.
        parts.hostname.encode("idna")
        default = _DEFAULT_PORT[parts.scheme]
        self.origin = Origin(parts.scheme, parts.hostname, parts.port or default)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        authority = host if self.origin.port == default else f"{host}:{self.origin.port}"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # "identity": an error answer in an encoding that we cannot read would look like one without a reason.
        fields = f"host: {authority}\r\nuser-agent: notify\r\naccept-encoding: identity\r\n"
        self._start = f"POST {path} HTTP/1.1\r\n{fields}"
        self._headers: dict[str, str] | None = None
        self._head = b""

    def request(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """Returns the bytes of a POST with these header fields. Raises ValueError for a field that cannot be sent."""
        # Most providers use the same fields for an hour, so the head of the last request is kept.
        if headers != self._headers:
            self._head = (self._start + "".join(map(_field, headers, headers.values()))).encode("latin-1")
            self._headers = dict(headers)
        return b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body)


def _field(name: str, value: str) -> str:
    # With a line break in a value, an attacker could add a field or a request. The error does not show the value,
    # because it may be a secret.
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError(f"header {name!r} has a character that is not allowed in a header")
    if name.lower() in _RESERVED:
        raise ValueError(f"header {name!r} is set by the client itself; leave it out")
    return f"{name}: {value}\r\n"
