"""Represents one connection through the proxy: the client's socket, the server's socket, and a
pipe in each direction.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from tests.faults.proxy.faults import Faults
from tests.faults.proxy.pipe import Ending, Pipe

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class End(asyncio.Protocol):
    """Represents one of the two sockets: bytes read from it go into ``reads``, bytes written to it come out of
    ``writes``.
    """

    def __init__(self, reads: Pipe, writes: Pipe, on_lost: Callable[[], None]) -> None:
        self._reads = reads
        self._writes = writes
        self._on_lost = on_lost
        self.transport: asyncio.Transport | None = None
        self.gone = False

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._reads.set_source(transport)
        self._writes.set_sink(transport)

    def data_received(self, data: bytes) -> None:
        self._reads.put(data)

    def eof_received(self) -> bool:
        self._reads.end(Ending.FINISHED)
        return True  # the other direction stays open

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._reads.end(Ending.BROKEN if exc else Ending.CLOSED)
        self._on_lost()

    def pause_writing(self) -> None:
        self._writes.sink_full(True)

    def resume_writing(self) -> None:
        self._writes.sink_full(False)

    def finish(self) -> None:
        """Sends no more."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Ends the connection with RST: all bytes in flight are lost."""
        if self.transport is None or self.gone:
            return
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()


class Link:
    """Joins the two sockets. ``on_gone`` is called when neither is open any more. The server's may be opened later, or
    never.
    """

    def __init__(self, faults: Faults, on_gone: Callable[[Link], None]) -> None:
        self._faults = faults
        self._on_gone = on_gone
        self._finished = 0
        self.up = Pipe("up", faults, self._cut, lambda ending: self._ended(self.server, ending))
        self.down = Pipe("down", faults, self._cut, lambda ending: self._ended(self.client, ending))
        self.client = End(self.up, self.down, self._lost)
        self.server = End(self.down, self.up, self._lost)

    @property
    def pipes(self) -> tuple[Pipe, Pipe]:
        return self.up, self.down

    def reset(self) -> None:
        """Resets both sockets with RST."""
        self.client.reset()
        self.server.reset()

    def settle(self) -> None:
        """Applies the changed faults."""
        for pipe in self.pipes:
            pipe.settle()

    def _cut(self) -> None:
        self._faults.cuts_made += 1
        self.reset()

    def _lost(self) -> None:
        if self.client.is_open or self.server.is_open:
            return
        for pipe in self.pipes:
            pipe.stop()
        self._on_gone(self)

    def _ended(self, receiver: End, ending: Ending) -> None:
        match ending:
            case Ending.FINISHED:
                self._finished += 1
                receiver.finish()
                if self._finished == 2:
                    self.client.close()
                    self.server.close()
            case Ending.CLOSED:
                receiver.close()
            case Ending.BROKEN:
                receiver.reset()
