"""Checks that a parser may be dropped and made again between any two bytes, and what ends a connection."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from services.websocket.transport.reading import (
    MOST_BYTES,
    Begun,
    Broken,
    Closed,
    Event,
    Pinged,
    Ponged,
    Reading,
    Said,
)
from shared.realtime.close_codes import BINARY, NOT_UTF8, PROTOCOL_ERROR, TOO_BIG, CloseCode

Step = Callable[[Protocol], None]


def wire(*steps: Step) -> bytes:
    """Returns the bytes of a client that does this."""
    client = Protocol(CLIENT, state=OPEN, max_size=None)
    for step in steps:
        step(client)
    return b"".join(client.data_to_send())


def text(data: bytes) -> Step:
    return lambda client: client.send_text(data)


def fragments(*parts: bytes, between: tuple[Step, ...] = ()) -> Step:
    def send(client: Protocol) -> None:
        client.send_text(parts[0], fin=len(parts) == 1)
        for number, part in enumerate(parts[1:], 2):
            for step in between:
                step(client)
            client.send_continuation(part, fin=number == len(parts))

    return send


def ping(data: bytes = b"?") -> Step:
    return lambda client: client.send_ping(data)


def pong(data: bytes = b"") -> Step:
    return lambda client: client.send_pong(data)


def close(code: int = 1000) -> Step:
    return lambda client: client.send_close(code, "bye")


class Lazy:
    """Reads like a connection: its parser exists only while something is half read."""

    def __init__(self) -> None:
        self.reading: Reading | None = None
        self.events: list[Event] = []
        self.made = 0

    def feed(self, data: bytes) -> None:
        if self.reading is None:
            self.reading = Reading()
            self.made += 1
        self.events += self.reading.feed(data)
        if self.reading.over:
            self.reading = None


def read_at_once(data: bytes) -> list[Event]:
    return list(Reading().feed(data))


WIRE = wire(
    text(b'{"type":"ping"}'),
    fragments("ä".encode() * 100, b"", b"b" * 200, b"c", between=(ping(), pong(b"!"))),
    ping(b""),
    text(b"x" * 126),
    text(b""),
    text(b"y" * 5000),
    pong(b"z" * 125),
    close(),
)


def test_every_cut_of_a_wire_reads_the_same() -> None:
    expected = read_at_once(WIRE)
    assert [type(event) for event in expected].count(Said) == 5
    for cut in range(1, len(WIRE)):
        lazy = Lazy()
        lazy.feed(WIRE[:cut])
        lazy.feed(WIRE[cut:])
        assert lazy.events == expected, cut


def test_byte_by_byte_it_reads_the_same() -> None:
    lazy = Lazy()
    for number in range(len(WIRE)):
        lazy.feed(WIRE[number : number + 1])
    assert lazy.events == read_at_once(WIRE)
    # One parser for each of the messages, of which one has the control frames between its fragments in it.
    assert lazy.made == 8


messages = st.binary(max_size=300).map(text)
controls = st.one_of(st.binary(max_size=125).map(ping), st.binary(max_size=125).map(pong))
in_parts = st.builds(
    lambda parts, between: fragments(*parts, between=tuple(between)),
    st.lists(st.binary(max_size=100), min_size=1, max_size=4),
    st.lists(controls, max_size=2),
)


@given(st.lists(st.one_of(messages, controls, in_parts), max_size=6), st.data())
def test_any_cuts_of_any_wire_read_the_same(steps: list[Step], data: st.DataObject) -> None:
    sent = wire(*steps)
    lazy, begin = Lazy(), 0
    for cut in [*sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8))), len(sent)]:
        if cut > begin:
            lazy.feed(sent[begin:cut])
        begin = cut
    assert lazy.events == read_at_once(sent)
    assert lazy.reading is None, "a parser that has read everything is kept"


def test_what_is_said_is_passed_on() -> None:
    ping_answer = Frame(Opcode.PONG, b"?").serialize(mask=False)
    read = read_at_once(wire(text(b"one"), ping(), pong(), fragments(b"t", b"wo"), close(1001)))
    close_answer = Frame(Opcode.CLOSE, b"\x03\xe9bye").serialize(mask=False)
    assert read == [Said(b"one"), Pinged(ping_answer), Ponged(), Begun(), Said(b"two"), Closed(1001, close_answer)]


def test_a_close_without_a_code_is_one() -> None:
    assert read_at_once(wire(lambda client: client.send_close())) == [Closed(1005, b"\x88\x00")]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (wire(text(b"x" * (MOST_BYTES + 1))), TOO_BIG),
        (wire(fragments(b"x" * MOST_BYTES, b"x")), TOO_BIG),
        (wire(lambda client: client.send_binary(b"x")), BINARY),
        (Frame(Opcode.TEXT, b"x").serialize(mask=False), PROTOCOL_ERROR),
        (b"\x83\x80\0\0\0\0", PROTOCOL_ERROR),
        (b"\xf1\x80\0\0\0\0", PROTOCOL_ERROR),
        (Frame(Opcode.CLOSE, b"\x03\xe8\xff").serialize(mask=True), NOT_UTF8),
        (Frame(Opcode.CONT, b"x").serialize(mask=True), PROTOCOL_ERROR),
    ],
    ids=["16 KiB + 1", "in fragments", "binary", "not masked", "no opcode", "reserved bits", "reason", "no beginning"],
)
def test_what_may_not_be_said_ends_it(sent: bytes, code: CloseCode) -> None:
    read = read_at_once(wire(text(b"before")) + sent)
    assert [event for event in read if event != Begun()] == [Said(b"before"), Broken(code)]


def test_the_largest_message_is_read() -> None:
    assert read_at_once(wire(text(b"x" * MOST_BYTES))) == [Said(b"x" * MOST_BYTES)]


def test_very_many_empty_fragments_take_no_memory() -> None:
    reading = Reading()
    parts = fragments(b"x", *[b""] * 1000)
    # Each of them is said to have come: the limit of frames counts them.
    assert list(reading.feed(wire(parts))) == [Begun()] * 1000 + [Said(b"x")]
    assert reading.over
