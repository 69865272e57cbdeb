"""Tests the part of the WebSocket protocol that the load speaks, against the library that the product uses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as Theirs
from websockets.frames import Opcode
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.server import ServerProtocol

from bench.realtime import frames

SIZES = st.sampled_from([0, 1, 125, 126, 300, 65_535, 65_536])


@given(sizes=st.lists(SIZES, max_size=4), cut=st.floats(0, 1))
def test_frames_are_found_wherever_the_bytes_are_cut(sizes: list[int], cut: float) -> None:
    kinds = [Opcode.TEXT, Opcode.PING, Opcode.CLOSE]
    sent = [Theirs(kinds[size % 3] if size < 126 else Opcode.TEXT, b"x" * size) for size in sizes]
    wire = b"".join(frame.serialize(mask=False) for frame in sent)
    first = wire[: round(cut * len(wire))]

    found, rest = frames.split(first)
    more, left = frames.split(rest + wire[len(first) :])

    assert [(frame.opcode, frame.payload) for frame in found + more] == [(one.opcode, one.data) for one in sent]
    assert left == b""


def test_a_server_reads_the_pong_of_its_ping() -> None:
    server = Protocol(SERVER, state=OPEN)
    server.receive_data(frames.pong(b"1234"))
    [heard] = server.events_received()
    assert isinstance(heard, Theirs)
    assert (heard.opcode, heard.data) == (Opcode.PONG, b"1234")


def test_a_server_accepts_the_request_and_what_it_says_next_is_not_lost() -> None:
    server = ServerProtocol()
    server.receive_data(frames.request("/ws?user_id=u1", 80))
    [request] = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]  # it is a Request
    answer = b"".join(server.data_to_send())

    assert frames.after_upgrade(answer[:-1]) is None
    assert frames.after_upgrade(answer + b"\x81\x00") == b"\x81\x00"


def test_a_refusal_is_shown() -> None:
    with pytest.raises(ValueError, match="403 Forbidden"):
        frames.after_upgrade(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
