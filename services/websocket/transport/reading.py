"""Reads what a WebSocket device sends, with a parser that exists only while a message is half read.

The parser of ``websockets`` takes kilobytes, and devices rarely say anything: so an open connection has none. One is
made when bytes arrive, and dropped as soon as the bytes that it was given are exactly those of the whole frames that it
has returned, and no message is open. (An empty buffer would not be a sign: it is empty after a head was read, too.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from shared.realtime.close_codes import BINARY, INTERNAL, NOT_UTF8, PROTOCOL_ERROR, TOO_BIG, CloseCode

#: Largest message of a device, bytes.
MOST_BYTES = 16 * 1024


class Said(NamedTuple):
    """Holds a text message."""

    text: bytes


class Pinged(NamedTuple):
    """Says that a ping came; ``pong`` are the bytes of the answer."""

    pong: bytes


class Ponged(NamedTuple):
    """Says that a pong came."""


class Begun(NamedTuple):
    """Says that a part of a message came, and that the message goes on."""


class Closed(NamedTuple):
    """Says that the device closes the connection; ``echo`` are the bytes of the answer."""

    code: int
    echo: bytes


class Broken(NamedTuple):
    """Says that nothing more can be read, and with which code the connection ends."""

    code: CloseCode


Event = Said | Pinged | Ponged | Begun | Closed | Broken


class Reading:
    """Reads from the beginning of a frame on."""

    __slots__ = ("_fed", "_message", "_protocol", "_seen")

    def __init__(self) -> None:
        self._protocol = Protocol(SERVER, state=OPEN, max_size=MOST_BYTES)
        self._fed = self._seen = 0
        #: the fragments of an open message
        self._message: list[bytes] | None = None

    @property
    def over(self) -> bool:
        """Tells whether everything is read, and this may be dropped."""
        return self._fed == self._seen and self._message is None and self._protocol.parser_exc is None

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yields what the device says. After Closed or Broken, do not feed it again."""
        protocol = self._protocol
        self._fed += len(data)
        protocol.receive_data(data)
        answers = [answer for answer in protocol.data_to_send() if answer]
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            self._seen += _size(len(frame.data))
            event = self._event(frame, answers)
            yield event
            if isinstance(event, (Closed, Broken)):
                return
        if protocol.parser_exc is not None:
            yield Broken(_meaning(protocol.parser_exc))

    def _event(self, frame: Frame, answers: list[bytes]) -> Event:
        match frame.opcode:
            case Opcode.PING:
                return Pinged(answers.pop(0))
            case Opcode.PONG:
                return Ponged()
            case Opcode.CLOSE:
                code = self._protocol.close_rcvd.code if self._protocol.close_rcvd is not None else 1005
                return Closed(code, b"".join(answers))
            case Opcode.BINARY:
                return Broken(BINARY)
        if frame.fin and self._message is None:
            return Said(bytes(frame.data))
        parts = self._message = self._message or []
        if frame.data:
            parts.append(bytes(frame.data))
        if not frame.fin:
            return Begun()
        self._message = None
        return Said(b"".join(parts))


def _size(payload: int) -> int:
    """Returns the bytes of a masked frame. One that wrote its length in a longer form only keeps the parser alive."""
    return payload + (6 if payload < 126 else 8 if payload < 65536 else 14)


def _meaning(error: Exception) -> CloseCode:
    match error:
        case PayloadTooBig():
            return TOO_BIG
        case UnicodeDecodeError():
            return NOT_UTF8
        case ProtocolError():
            return PROTOCOL_ERROR
        case _:
            return INTERNAL
