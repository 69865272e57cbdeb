"""Speaks as much of the WebSocket protocol as a load needs: the request, the frames of a server, and pongs."""

from typing import NamedTuple

TEXT, CLOSE, PING = 0x1, 0x8, 0x9
_PONG = 0x8A
_MASKED = 0x80
#: A mask of zeros leaves the payload as it is.
_NO_MASK = b"\0\0\0\0"
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_END = b"\r\n\r\n"


class Frame(NamedTuple):
    opcode: int
    payload: bytes


def request(path: str, port: int) -> bytes:
    """Returns the request for an upgrade. It offers no extension, so nothing is compressed."""
    head = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    return head.encode()


def after_upgrade(received: bytes) -> bytes | None:
    """Returns what follows the answer to the request; None if the answer is not whole yet.

    Raises ValueError unless the server has accepted.
    """
    head, end, rest = received.partition(_END)
    if not end:
        return None
    if not head.startswith(b"HTTP/1.1 101 "):
        raise ValueError(f"the upgrade was refused: {received[:300].decode(errors='replace')}")
    return rest


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """Returns the whole frames at the beginning of ``data``, and what is left; a server does not mask its frames."""
    frames: list[Frame] = []
    at, end = 0, len(data)
    while end - at >= 2:
        size, begin = data[at + 1], at + 2
        if size == 126:
            if end < at + 4:
                break
            size, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            if end < at + 10:
                break
            size, begin = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if end < begin + size:
            break
        frames.append(Frame(data[at] & 0x0F, data[begin : begin + size]))
        at = begin + size
    return frames, data[at:]


def pong(payload: bytes) -> bytes:
    """Returns the answer to a ping; ``payload`` has at most 125 bytes."""
    return bytes((_PONG, _MASKED | len(payload))) + _NO_MASK + payload
