"""Checks when a connection is ended that does not read or does not answer, with a transport that a test controls."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from websockets.protocol import CLIENT, OPEN, Protocol

from services.websocket.parts import Parts
from services.websocket.socket_metrics import SocketMetrics
from services.websocket.transport import native
from services.websocket.transport.dialects import NATIVE
from services.websocket.transport.lingering import Lingering
from services.websocket.transport.socket import Socket
from shared.realtime.close_codes import MALFORMED, TOO_FAST, TOO_SLOW

CUT = "cut"


class Transport:
    """Stands in for the transport; ``unsent`` is what the device has not taken."""

    def __init__(self) -> None:
        self.unsent = 0
        self.written = b""
        self.ended: str | None = None
        self.protocol: Any = None
        self.eof = False

    def set_write_buffer_limits(self, *, high: int, low: int) -> None:
        self.limits = (high, low)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.ended is not None

    def write(self, data: bytes) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.eof = True

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = CUT


class Nobody:
    """Stands in for what these tests do not reach; it lets everybody wait for an auth frame."""

    open = False


@pytest.fixture
def parts() -> Parts:
    nobody: Any = Nobody()
    return Parts(nobody, nobody, nobody, nobody, SocketMetrics(CollectorRegistry()), 20.0, cast(Any, None))


async def opened(parts: Parts) -> tuple[Socket, Transport]:
    socket, transport = Socket(parts, NATIVE, None), Transport()
    socket.open(cast(asyncio.Transport, transport), None, None, b"")
    return socket, transport


def closed(transport: Transport) -> int | None:
    """Returns the code of the close frame at the end of what was written."""
    at = transport.written.rfind(b"\x88")
    return int.from_bytes(transport.written[at + 2 : at + 4], "big") if at >= 0 else None


def said(*texts: bytes) -> bytes:
    client = Protocol(CLIENT, state=OPEN, max_size=None)
    for text in texts:
        client.send_text(text)
    return b"".join(client.data_to_send())


async def test_one_that_answers_no_ping_is_cut_after_a_round(parts: Parts) -> None:
    socket, transport = await opened(parts)
    # What it has said before the first round counts.
    socket.beat()
    assert transport.written.endswith(native.PING)
    socket.data_received(b"\x8a\x80\0\0\0\0")
    socket.beat()
    assert transport.ended is None
    socket.beat()
    assert transport.ended == CUT


async def test_one_that_reads_slowly_is_neither_pinged_nor_cut(parts: Parts) -> None:
    socket, transport = await opened(parts)
    socket.pause_writing()
    for _ in range(5):
        socket.beat()
    assert (transport.written, transport.ended) == (b"", None)
    # Once it has room it has a whole round to answer.
    socket.resume_writing()
    socket.beat()
    assert (transport.written, transport.ended) == (native.PING, None)
    socket.beat()
    assert transport.ended == CUT


async def test_one_that_is_full_and_takes_no_byte_for_30_seconds_is_ended(parts: Parts) -> None:
    socket, transport = await opened(parts)
    assert transport.limits == (64 * 1024, 16 * 1024)
    transport.unsent = 70_000
    socket.pause_writing()
    for at in range(30):
        socket.look(1000.0 + at)
    assert closed(transport) is None
    socket.look(1030.0)
    assert closed(transport) == TOO_SLOW.code


async def test_one_that_takes_a_byte_now_and_then_is_not_ended(parts: Parts) -> None:
    socket, transport = await opened(parts)
    transport.unsent = 70_000
    socket.pause_writing()
    for at in range(0, 600, 29):
        transport.unsent -= 1
        socket.look(1000.0 + at)
    assert closed(transport) is None


async def test_one_that_asks_and_does_not_read_takes_no_byte(parts: Parts) -> None:
    socket, transport = await opened(parts)
    transport.unsent = 70_000
    socket.pause_writing()
    for at in range(31):
        # What is unsent grows by the answers.
        transport.unsent += 10
        socket.look(1000.0 + at)
    assert closed(transport) == TOO_SLOW.code


async def test_the_time_begins_anew_when_it_has_taken_everything(parts: Parts) -> None:
    socket, transport = await opened(parts)
    transport.unsent = 70_000
    socket.pause_writing()
    socket.look(1000.0)
    socket.resume_writing()
    socket.look(1020.0)
    socket.pause_writing()
    socket.look(1031.0)
    assert closed(transport) is None


async def test_one_with_more_than_a_mebibyte_unsent_is_ended(parts: Parts) -> None:
    socket, transport = await opened(parts)
    socket.pause_writing()
    transport.unsent = 1024 * 1024
    socket.write(b"x")
    await asyncio.sleep(0)
    assert closed(transport) is None
    transport.unsent += 1
    socket.write(b"x")
    await asyncio.sleep(0)
    assert closed(transport) == TOO_SLOW.code
    assert parts.metrics.slow_closed._value.get() == 1


async def test_an_error_of_the_transport_ends_its_own_connection_only(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket, transport = await opened(parts)
    monkeypatch.setattr(transport, "write", lambda data: 1 / 0)
    socket.write(b"x")
    assert transport.ended == CUT
    socket.write(b"y")


@pytest.mark.parametrize(
    "flood",
    [b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0", b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 999],
    ids=["pings", "pongs", "parts of a message"],
)
async def test_frames_of_every_kind_count(flood: bytes, parts: Parts) -> None:
    socket, transport = await opened(parts)
    socket.data_received((flood * 1000)[:6000])
    assert closed(transport) == TOO_FAST.code
    assert transport.written.count(b"rate_limited") == 3


async def test_a_flood_is_not_read_to_its_end(parts: Parts) -> None:
    socket, transport = await opened(parts)
    flood = b"\x89\x80\0\0\0\0" * 40_000
    fed = 0

    class Fed(bytes):
        def __getitem__(self, key: Any) -> Any:
            nonlocal fed
            part = super().__getitem__(key)
            fed += len(part)
            return part

    socket.data_received(Fed(flood))
    assert closed(transport) == TOO_FAST.code
    # It may still read the code, and is heard no longer.
    assert fed < 10_000
    assert transport.eof
    assert isinstance(transport.protocol, Lingering)
    transport.protocol.connection_lost(None)


async def test_what_follows_on_broken_bytes_is_not_read(parts: Parts) -> None:
    socket, transport = await opened(parts)
    socket.data_received(b"\xff" * 20_000)
    assert closed(transport) == 1002
    assert isinstance(transport.protocol, Lingering)
    assert transport.ended is None
    transport.protocol.connection_lost(None)


async def test_one_that_was_told_to_end_is_heard_until_it_has_closed(parts: Parts) -> None:
    socket, transport = await opened(parts)
    socket.data_received(said(b"1", b"2", b"3"))
    assert closed(transport) == MALFORMED.code
    assert parts.closing == {socket}
    written = transport.written
    socket.data_received(said(b"4"))
    assert (transport.written, transport.ended) == (written, None)
    client = Protocol(CLIENT, state=OPEN)
    client.send_close(MALFORMED.code)
    socket.data_received(b"".join(client.data_to_send()))
    assert transport.ended == "closed"
    socket.connection_lost(None)
    assert parts.closing == set()


def test_a_device_cannot_make_a_time_series_for_each_code_that_it_invents(parts: Parts) -> None:
    connection: Any = Nobody()
    for code in (1001, 4505, 3000, 4321, 4999):
        parts.enter(connection, "websocket", "native")
        parts.leave(connection, "websocket", "native", code)
    [family] = parts.metrics.closed.collect()
    counted = {s.labels["code"]: s.value for s in family.samples if s.name.endswith("_total")}
    assert counted == {"1001": 1, "4505": 1, "other": 3}
