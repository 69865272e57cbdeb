"""Runs a vendor that misbehaves on the wire: an HTTP/1.1 server of bare sockets, told what to do with each request."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from tests.support.peers.listening import listening


@dataclass
class Request:
    """Holds one request as it came over the wire, and its connection's number, from 1."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    def json(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.body)
        return document

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


Act = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawHttp:
    """Holds every whole request in ``requests``; ``connections`` and ``ended`` count accepted and ended connections."""

    url: str
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    ended: int = 0

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]


def answer(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Act:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]

    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await writer.drain()

    return act


def say(*parts: bytes) -> Act:
    """Writes exactly these bytes, each part separately if the network allows it; the connection stays open."""

    async def act(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.002)

    return act


def after(event: asyncio.Event, act: Act) -> Act:
    """Does ``act`` once ``event`` is set."""

    async def wait(writer: asyncio.StreamWriter) -> None:
        await event.wait()
        await act(writer)

    return wait


def answer_then_close(status: int, body: object = b"") -> Act:
    """Answers and closes like a server that drops an idle connection: without announcing it in a header."""

    async def act(writer: asyncio.StreamWriter) -> None:
        await answer(status, body)(writer)
        await close(writer)

    return act


async def reset(writer: asyncio.StreamWriter) -> None:
    """Resets the connection (RST) after the request was read."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    """Closes the connection (FIN) without an answer."""
    writer.close()
    await writer.wait_closed()


async def hang(writer: asyncio.StreamWriter) -> None:
    """Gives no answer until the client gives up."""
    await writer.wait_closed()


async def cut_in_the_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"name": "')
    await writer.drain()
    await close(writer)


async def babble(writer: asyncio.StreamWriter) -> None:
    """Answers with bytes that are not HTTP."""
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
    await writer.drain()
    await close(writer)


@asynccontextmanager
async def raw_http(*acts: Act, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawHttp]:
    """Yields a server that does the n-th act at the n-th request, and the last one at every later request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        vendor.connections += 1
        number = vendor.connections
        try:
            while not writer.is_closing():
                vendor.requests.append(await _read(reader, number))
                await acts[min(len(vendor.requests), len(acts)) - 1](writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has closed
        finally:
            vendor.ended += 1
            writer.transport.abort()

    async with listening(serve, tls=tls) as port:
        vendor = RawHttp(f"{'https' if tls else 'http'}://127.0.0.1:{port}")
        yield vendor


async def _read(reader: asyncio.StreamReader, connection: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(head[0].split(" ")[1], headers, body, connection)
