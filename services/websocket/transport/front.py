"""Listens for devices: reads the head of each request, and gives the connection to those who speak its protocol.

An upgrade is answered with the handshake of ``websockets``, and the connection belongs to a ``Socket`` then. Everything
else goes to aiohttp. The head is read here, before aiohttp has seen the connection: what aiohttp owns, it closes.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from services.websocket.door import credential_of
from services.websocket.parts import HEAD_BYTES, HEAD_S, Parts
from services.websocket.reads import after_ms
from services.websocket.transport.dialects import Place, place_of
from services.websocket.transport.lingering import Lingering
from services.websocket.transport.positions import position_in
from services.websocket.transport.reading import MOST_BYTES
from services.websocket.transport.socket import Socket
from shared.errors import BadSettings

log = structlog.get_logger(__name__)

_END = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:[ \t]*websocket", re.IGNORECASE)
#: Connections that may wait to be accepted.
_BACKLOG = 4096
#: So many connections beyond the largest number may be open for a moment, to be told that there are too many.
_SPARE = 128


class Target(NamedTuple):
    """Holds what a request asks for; the path is still percent-encoded."""

    path: str
    query: dict[str, str]


class Front:
    """Owns the listening socket. ``most`` is the largest number of connections at a time."""

    def __init__(self, host: str, port: int, parts: Parts, http: web.Server, most: int) -> None:
        self._host = host
        #: the port on which it listens; it stays that of this node when the listening has ended
        self.port = port
        self._parts, self._http, self._most = parts, http, most
        self._server: asyncio.Server | None = None
        self._heads: set[_Head] = set()
        self._was_full = False

    async def start(self) -> None:
        """Begins to listen. Raises BadSettings that names the setting of the port."""
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Head(self), self._host, self.port, reuse_address=True, backlog=_BACKLOG
            )
        except OSError as exc:
            raise BadSettings([("SOCKET_PORT", f"cannot listen on port {self.port}: {exc.strerror}")]) from exc
        # Port 0 is any port that is free.
        self.port = int(self._server.sockets[0].getsockname()[1])

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
        request = next(iter(protocol.events_received()), None)
        if not isinstance(request, Request):
            # It is no HTTP, has a body, a path that is not ASCII or too many headers.
            self.refuse(transport, 400, "This is not the handshake of a WebSocket.\n")
            return
        target = target_of(request.path)
        place = place_of(target.path, target.query.get("user_id"))
        response = self._answer(protocol, request, place)
        protocol.send_response(response)
        answer = b"".join(protocol.data_to_send())
        if place is None or response.status_code != 101:
            self._end(transport, response.status_code, answer)
            return
        transport.write(answer)
        socket = Socket(self._parts, place.dialect, place.named)
        transport.set_protocol(socket)
        authorization = request.headers.get_all("Authorization")
        credential = credential_of(authorization[0] if authorization else None, target.query)
        socket.open(transport, credential, position_in(target.query), rest)

    def serve_http(self, transport: asyncio.Transport, received: bytes) -> None:
        """Gives the connection to aiohttp."""
        handler = self._http()
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(received)

    def refuse(self, transport: asyncio.Transport, status: int, text: str) -> None:
        """Says why, and ends the connection."""
        self._end(transport, status, _response(status, text))

    def refuse_if_full(self, transport: asyncio.Transport, more: int = 0) -> bool:
        """Ends a connection if there are more than there may be, and ``more``. Tells whether it did."""
        number = len(self._parts.connections) + len(self._heads)
        if number > self._most and not self._was_full:
            log.warning("node_full", connections=len(self._parts.connections), heads=len(self._heads))
        self._was_full = number > self._most
        if number <= self._most + more:
            return False
        answer = _response(503, "This node has too many connections.\n", f"Retry-After: {after_ms() // 1000}\r\n")
        self._end(transport, 503, answer, at_once=more > 0)
        return True

    def cut(self, transport: asyncio.Transport) -> None:
        """Cuts a connection whose head does not come."""
        self._parts.metrics.refused.labels("408").inc()
        transport.abort()

    def _end(self, transport: asyncio.Transport, status: int, answer: bytes, *, at_once: bool = False) -> None:
        self._parts.metrics.refused.labels(str(status)).inc()
        transport.write(answer)
        if at_once:
            transport.close()
        else:
            Lingering(transport, HEAD_S)

    def _answer(self, protocol: ServerProtocol, request: Request, place: Place | None) -> Response:
        origins = request.headers.get_all("Origin")
        if len(origins) > 1 or not self._parts.door.allows(origins[0] if origins else None):
            return protocol.reject(403, "Pages of this origin may not connect; see SOCKET_ORIGINS.\n")
        if place is None:
            return protocol.reject(404, "There is no WebSocket under this path; the inbox is /ws.\n")
        return protocol.accept(request)


def _response(status: int, text: str, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/plain\r\n{more}"
    return f"{head}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


def target_of(text: str) -> Target:
    """Splits what a request asks for; it is ASCII."""
    path, _, query = text.partition("?")
    return Target(path, dict(parse_qsl(query)))


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
        self._timer = asyncio.get_running_loop().call_later(HEAD_S, self._front.cut, self._transport)
        self._front.enter(self)
        # So many that bring no head would use up the files of the process.
        if self._front.refuse_if_full(self._transport, _SPARE):
            self._over()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_END)
        if end > HEAD_BYTES or (end < 0 and len(self._received) > HEAD_BYTES):
            self._over()
            self._front.refuse(self._transport, 431, "The head of a request has at most 8 KiB.\n")
        elif end >= 0:
            is_one_too_many = self._front.refuse_if_full(self._transport)
            self._over()
            if not is_one_too_many:
                self._head_is_here(end + len(_END))

    def _head_is_here(self, size: int) -> None:
        head, rest = self._received[:size], self._received[size:]
        if _UPGRADE.search(head):
            self._front.upgrade(self._transport, head, rest)
        else:
            self._front.serve_http(self._transport, self._received)
        self._received = b""

    def _over(self) -> None:
        self._timer.cancel()
        self._front.leave(self)
