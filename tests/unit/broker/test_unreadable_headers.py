"""Reads frames from bytes: a message whose headers pika cannot decode comes without them, all others come complete."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from pika import spec
from pika.exceptions import InvalidFrameError
from pika.frame import Body, Header, Heartbeat

from shared.broker.pika_patches import WireConnection

#: a field table whose only value is a time in milliseconds, where AMQP expects seconds
_MILLISECONDS = b"\x04sent" + struct.pack(">cQ", b"T", 1_700_000_000_000)
_HEADERS_ONLY = 0x2000


def frame(kind: int, content: bytes) -> bytes:
    return struct.pack(">BHI", kind, 7, len(content)) + content + b"\xce"


def header_frame(table: bytes, body_bytes: int) -> bytes:
    content = struct.pack(">HHQH", 60, 0, body_bytes, _HEADERS_ONLY) + struct.pack(">I", len(table)) + table
    return frame(spec.FRAME_HEADER, content)


def read(data: bytes) -> list[Any]:
    """Returns all complete frames of ``data``, as the connection reads them."""
    connection: Any = object.__new__(WireConnection)
    connection._frame_buffer = data
    frames = []
    while connection._frame_buffer:
        used, found = connection._read_frame()
        if found is None:
            break
        frames.append(found)
        connection._frame_buffer = connection._frame_buffer[used:]
    return frames


def test_a_message_with_unreadable_headers_comes_without_them_and_its_neighbours_are_whole() -> None:
    body = Body(7, b"{}").marshal()
    header, first, heartbeat, second = read(
        header_frame(_MILLISECONDS, 2) + body + Heartbeat().marshal() + header_frame(b"", 5)
    )
    assert isinstance(header, Header)
    assert (header.channel_number, header.body_size, header.properties.headers) == (7, 2, None)
    assert (first.channel_number, first.fragment) == (7, b"{}")
    assert isinstance(heartbeat, Heartbeat)
    assert (second.body_size, second.properties.headers) == (5, {})


def test_half_a_frame_waits_for_the_rest() -> None:
    whole = header_frame(_MILLISECONDS, 2)
    for end in range(len(whole)):
        assert read(whole[:end]) == []


def test_what_is_no_frame_is_still_refused() -> None:
    with pytest.raises(InvalidFrameError):
        read(frame(spec.FRAME_BODY, b"{}")[:-1] + b"?")
