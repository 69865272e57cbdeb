"""Cuts a connection as a crash would."""

import asyncio
import socket
import struct

_NO_LINGER = struct.pack("ii", 1, 0)


def cut(transport: asyncio.WriteTransport | None) -> None:
    """Resets the connection (RST, not FIN); bytes not sent yet are lost. Has no effect if the connection is already
    closed.
    """
    if transport is None or transport.is_closing():
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
