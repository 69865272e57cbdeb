"""Finds where AMQP frames begin in a stream of bytes that arrives in pieces of any size."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_PROTOCOL_HEADER_BYTES = 8  # "AMQP", then the version: the client's first words
_FRAME_HEADER = struct.Struct(">BHI")  # type, channel, payload size
_FRAME_END_BYTES = 1
_METHOD_FRAME = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """Describes a frame. ``start`` is its offset in the piece just walked, below 0 if its header began in an earlier
    piece.
    """

    start: int
    total_bytes: int


class FrameWalk:
    """Follows one direction of one connection from its first byte. Finds nothing in a stream that is not AMQP."""

    def __init__(self) -> None:
        self._is_amqp: bool | None = None
        self._skip = 0  # bytes still to pass before the next frame's header
        self._part = b""  # bytes of a header that is not complete yet

    def walk(self, piece: bytes, least_bytes: int | None = None) -> Frame | None:
        """Returns the first frame whose header ends in ``piece`` and whose payload has ``least_bytes`` (None: finds
        none).
        """
        if self._is_amqp is None:
            self._begin(piece)
        if not self._is_amqp:
            return None
        data, before, at = self._part + piece, len(self._part), self._skip
        found: Frame | None = None
        while at + _FRAME_HEADER.size <= len(data):
            payload_bytes = _FRAME_HEADER.unpack_from(data, at)[2]
            total_bytes = _FRAME_HEADER.size + payload_bytes + _FRAME_END_BYTES
            if found is None and least_bytes is not None and payload_bytes >= least_bytes:
                found = Frame(at - before, total_bytes)
            at += total_bytes
        self._part = data[at:]
        self._skip = max(0, at - len(data))
        return found

    def _begin(self, piece: bytes) -> None:
        from_client = piece[0] == ord("A")
        self._is_amqp = from_client or piece[0] == _METHOD_FRAME
        self._skip = _PROTOCOL_HEADER_BYTES if from_client else 0
