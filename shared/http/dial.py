"""A fresh connection to an origin: name, address, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl

import aiohappyeyeballs

from shared.http.connection import Connection, Listener
from shared.http.request import Origin

#: the next address is tried beside one that has not answered for this long, seconds: a dead IPv6 route is common
_NEXT_ADDRESS_S = 0.25


def client_tls() -> ssl.SSLContext:
    """Certificates and names are checked against the system's authorities (OpenSSL reads SSL_CERT_FILE)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(origin: Origin, tls: ssl.SSLContext | None, on_idle: Listener, on_lost: Listener) -> Connection:
    """Connect, TLS handshake included; nothing of a request is written. Raises OSError."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    opened = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1)
    hostname = origin.host if tls is not None else None
    _, connection = await loop.create_connection(
        lambda: Connection(on_idle, on_lost), sock=opened, ssl=tls, server_hostname=hostname
    )
    return connection
