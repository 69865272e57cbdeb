"""Reads what the kernel knows about the connections of this process, and cuts them. It works on Linux only.

The server offers no access to its connections, so they are found among the process's file descriptors.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: Whether this system has what is needed here.
SUPPORTED = sys.platform == "linux"

_DESCRIPTORS = Path("/proc/self/fd")
# struct tcp_info of linux/tcp.h: the offsets of the fields that are read here. Fields are only ever added at its end.
_LAST_DATA_SENT_MS, _LAST_DATA_RECEIVED_MS = 44, 52
_BYTES_RECEIVED, _DATA_SEGMENTS_OUT = 128, 156
_INFO_BYTES = 160
_ESTABLISHED = 1


@dataclass(frozen=True, slots=True)
class Sight:
    """Describes one accepted connection at this moment. The two ages are in seconds; without data they count from its
    beginning.
    """

    #: The inode names the connection for as long as it exists; the descriptor may be used again at once.
    inode: int
    descriptor: int
    address: str
    sent_age_s: float
    received_age_s: float
    received_bytes: int
    #: segments with data that were sent, of all answers
    sent_segments: int
    #: bytes that the peer has not taken yet
    unsent_bytes: int


def connections(port: int) -> Iterator[Sight]:
    """Yields the established connections that were accepted on ``port``."""
    for name in os.listdir(_DESCRIPTORS):
        # The server closes connections while this runs.
        with suppress(OSError), _borrowed(int(name)) as (descriptor, inode):
            if descriptor is not None and (sight := _sight(descriptor, int(name), inode, port)) is not None:
                yield sight


def cut(sight: Sight) -> bool:
    """Ends a connection: its reader and its writer notice at once. Returns False if it was gone already."""
    with suppress(OSError), _borrowed(sight.descriptor) as (connection, inode):
        if connection is not None and inode == sight.inode:
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False


@contextmanager
def _borrowed(descriptor: int) -> Iterator[tuple[socket.socket | None, int]]:
    """Yields a duplicate of the socket behind ``descriptor``, and its inode; None if it is no TCP socket.

    Without the duplicate, another connection could get the descriptor between two calls.
    """
    status = os.stat(descriptor)
    if not stat.S_ISSOCK(status.st_mode):
        yield None, 0
        return
    with socket.socket(fileno=os.dup(descriptor)) as duplicate:
        tcp = duplicate.family in (socket.AF_INET, socket.AF_INET6) and duplicate.type == socket.SOCK_STREAM
        yield (duplicate if tcp else None), os.fstat(duplicate.fileno()).st_ino


def _sight(connection: socket.socket, descriptor: int, inode: int, port: int) -> Sight | None:
    if connection.getsockname()[1] != port:
        return None
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    if len(info) < _INFO_BYTES or info[0] != _ESTABLISHED:
        return None
    (unsent,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))
    return Sight(
        inode=inode,
        descriptor=descriptor,
        address=connection.getpeername()[0],
        sent_age_s=struct.unpack_from("I", info, _LAST_DATA_SENT_MS)[0] / 1000,
        received_age_s=struct.unpack_from("I", info, _LAST_DATA_RECEIVED_MS)[0] / 1000,
        received_bytes=struct.unpack_from("Q", info, _BYTES_RECEIVED)[0],
        sent_segments=struct.unpack_from("I", info, _DATA_SEGMENTS_OUT)[0],
        unsent_bytes=unsent,
    )
