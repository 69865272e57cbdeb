"""Listens for devices: reads the head of each request, and gives the connection to those who speak its protocol.

An upgrade is answered with the handshake of ``websockets``, and the connection belongs to a ``Socket`` then. Everything
else goes to aiohttp. The head is read here, before aiohttp has seen the connection: what aiohttp owns, it closes.
"""

from __future__ import annotations

import asyncio
import re
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from websockets.http11 import Request
from websockets.server import ServerProtocol

from services.websocket.door import credential_of
from services.websocket.parts import HEAD_BYTES, HEAD_S, Parts
from services.websocket.transport.dialects import place_of
from services.websocket.transport.positions import position_in
from services.websocket.transport.reading import MOST_BYTES
from services.websocket.transport.socket import Socket
from shared.errors import BadSettings

_END = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:[ \t]*websocket", re.IGNORECASE)
#: Connections that may wait to be accepted.
_BACKLOG = 4096


class Front:
    """Owns the listening socket. ``most`` is the largest number of connections at a time."""

    def __init__(self, host: str, port: int, parts: Parts, http: web.Server[web.BaseRequest], most: int) -> None:
        self._host, self._port = host, port
        self._parts, self._http, self._most = parts, http, most
        self._server: asyncio.Server | None = None
        self._heads: set[_Head] = set()

    @property
    def port(self) -> int:
        """Returns the port on which it listens, or listened."""
        return self._port

    async def start(self) -> None:
        """Begins to listen. Raises BadSettings that names the setting of the port."""
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Head(self), self._host, self._port, reuse_address=True, backlog=_BACKLOG
            )
        except OSError as exc:
            raise BadSettings([("SOCKET_PORT", f"cannot listen on port {self._port}: {exc.strerror}")]) from exc
        # A closed server does not know its sockets any more, and the last heartbeats name the port.
        self._port = int(self._server.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """Refuses new connections. Those that are open stay."""
        if self._server is not None:
            self._server.close()

    def enter(self, head: _Head) -> None:
        self._heads.add(head)

    def leave(self, head: _Head) -> None:
        self._heads.discard(head)

    def upgrade(self, transport: asyncio.Transport, head: bytes, rest: bytes) -> None:
        """Answers the handshake of a WebSocket."""
        protocol = ServerProtocol(max_size=MOST_BYTES)
        protocol.receive_data(head)
        socket = None
        for request in protocol.events_received():
            assert isinstance(request, Request)
            socket = self._shake(protocol, request)
        transport.write(b"".join(protocol.data_to_send()))
        if socket is None:
            _close(transport)
            return
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query))
        transport.set_protocol(socket)
        authorization = request.headers.get_all("Authorization")
        credential = credential_of(authorization[0] if authorization else None, query)
        socket.open(transport, credential, position_in(query), rest)

    def serve_http(self, transport: asyncio.Transport, received: bytes) -> None:
        """Gives the connection to aiohttp."""
        handler = self._http()
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(received)

    @property
    def is_full(self) -> bool:
        """Tells whether there are as many connections as there may be."""
        return len(self._parts.connections) + len(self._heads) > self._most

    def _shake(self, protocol: ServerProtocol, request: Request) -> Socket | None:
        """Puts the answer into ``protocol``. Returns the socket if the handshake has succeeded."""
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query))
        place = place_of(parts.path, query.get("user_id"))
        origins = request.headers.get_all("Origin")
        if len(origins) > 1 or not self._parts.door.allows(origins[0] if origins else None):
            response = protocol.reject(403, "Pages of this origin may not connect; see SOCKET_ORIGINS.\n")
        elif place is None:
            response = protocol.reject(404, "There is no WebSocket under this path; the inbox is /ws.\n")
        else:
            response = protocol.accept(request)
        protocol.send_response(response)
        if place is None or response.status_code != 101:
            return None
        return Socket(self._parts, place.dialect, place.named)


class _Head(asyncio.Protocol):
    """Is a connection whose request is not read yet."""

    __slots__ = ("_front", "_received", "_timer", "_transport")

    def __init__(self, front: Front) -> None:
        self._front = front
        self._received = b""
        self._timer: asyncio.TimerHandle
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(HEAD_S, self._transport.abort)
        self._front.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_END)
        if end > HEAD_BYTES or (end < 0 and len(self._received) > HEAD_BYTES):
            self._refuse("431 Request Header Fields Too Large", "The head of a request has at most 8 KiB.\n")
        elif end >= 0:
            self._head_is_here(end + len(_END))

    def _head_is_here(self, size: int) -> None:
        head, rest = self._received[:size], self._received[size:]
        if self._front.is_full:
            self._refuse("503 Service Unavailable", "This node has too many connections.\n", "Retry-After: 5\r\n")
            return
        self._over()
        if _UPGRADE.search(head):
            self._front.upgrade(self._transport, head, rest)
        else:
            self._front.serve_http(self._transport, self._received)
        self._received = b""

    def _refuse(self, status: str, text: str, more: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n{more}"
        self._transport.write(f"{head}Connection: close\r\n\r\n{text}".encode())
        self._over()
        _close(self._transport)

    def _over(self) -> None:
        self._timer.cancel()
        self._front.leave(self)


def _close(transport: asyncio.Transport) -> None:
    transport.close()
    # A peer that does not read keeps the connection open otherwise.
    asyncio.get_running_loop().call_later(HEAD_S, transport.abort)
