"""Reaches providers through an egress proxy: opens a tunnel with CONNECT (RFC 9110, section 9.3.6).

The proxy sees the provider's name and port, and resolves the name. TLS runs inside the tunnel from here to the
provider, so the proxy reads neither messages nor credentials.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
import socket
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

from shared.http.request import Origin
from shared.settings.groups.providers import ProviderSettings

_MOST_HEAD_BYTES = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


@dataclass(frozen=True, slots=True)
class Proxy:
    """Holds a proxy's address, and what is called without it (``direct``, in the notation of NO_PROXY)."""

    host: str
    port: int
    credentials: str = field(default="", repr=False)
    direct: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: ProviderSettings) -> Proxy | None:
        """Returns the proxy that EGRESS_PROXY names, or None."""
        if settings.proxy is None:
            return None
        parts = urlsplit(settings.proxy.get_secret_value())
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        return cls(parts.hostname or "", parts.port or 80, credentials, settings.no_proxy)

    @property
    def url(self) -> str:
        """Returns the proxy's URL without credentials."""
        return f"http://{_authority(self.host, self.port)}"

    @property
    def url_with_credentials(self) -> str:
        """Returns the proxy's URL as other HTTP libraries expect it."""
        name, _, password = self.credentials.partition(":")
        before = f"{quote(name, safe='')}:{quote(password, safe='')}@" if self.credentials else ""
        return f"http://{before}{_authority(self.host, self.port)}"

    def serves(self, origin: Origin) -> bool:
        """Tells whether calls to ``origin`` go through the proxy: not to this machine, nor to what NO_PROXY names."""
        return not _is_loopback(origin.host) and not any(_matches(rule, origin) for rule in self.direct)

    def request(self, origin: Origin) -> bytes:
        """Returns the bytes that ask the proxy for a tunnel to ``origin``."""
        authority = _authority(origin.host, origin.port)
        fields = f"host: {authority}\r\nuser-agent: notify\r\n"
        if self.credentials:
            fields += f"proxy-authorization: Basic {base64.b64encode(self.credentials.encode()).decode()}\r\n"
        return f"CONNECT {authority} HTTP/1.1\r\n{fields}\r\n".encode("ascii")

    async def tunnel(self, opened: socket.socket, origin: Origin) -> asyncio.Transport:
        """Asks the proxy at the other end of ``opened`` for a tunnel to ``origin``, and returns it. Raises OSError."""
        loop = asyncio.get_running_loop()
        transport, answer = await loop.create_connection(lambda: _Answer(self.request(origin)), sock=opened)
        try:
            await answer.complete
        except BaseException as exc:
            transport.abort()
            if isinstance(exc, OSError):
                raise OSError(f"the proxy {self.url} {exc}") from exc
            raise
        return transport


class _Answer(asyncio.Protocol):
    """Writes one request and reads the head of its answer. ``complete`` raises OSError if that opens no tunnel."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._head = b""
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head:
            self._end(_complaint(self._head))
        elif len(self._head) > _MOST_HEAD_BYTES:
            self._end("did not answer CONNECT with HTTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("ended the connection before its answer to CONNECT was complete")

    def _end(self, complaint: str | None) -> None:
        if self.complete.done():
            return
        if complaint is None:
            self.complete.set_result(None)
        else:
            self.complete.set_exception(OSError(complaint))


def _complaint(head: bytes) -> str | None:
    status = _STATUS.match(head)
    if status is None:
        return "did not answer CONNECT with HTTP"
    if not status[1].startswith(b"2"):
        return f"refused the tunnel: {status[1].decode()}"
    # A server never speaks first, neither in TLS nor in HTTP: these bytes would be taken for an answer.
    return None if head.index(b"\r\n\r\n") + 4 == len(head) else "sent data before any request"


def _matches(rule: str, origin: Origin) -> bool:
    if rule == "*":
        return True
    network = _network(rule)
    if network is not None:
        address = _address(origin.host)
        return address is not None and address in network
    name, _, port = rule.lower().partition(":")
    if port and port != str(origin.port):
        return False
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (origin.host == name or origin.host.endswith(f".{name}"))


def _network(rule: str) -> Any:
    try:
        return ipaddress.ip_network(rule.strip("[]"), strict=False)
    except ValueError:
        return None


def _address(host: str) -> Any:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and bool(address.is_loopback))


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
