"""Ends a connection so that its peer can read what it was told last.

A connection that is closed while something that the peer sent is unread is reset, and a peer that is reset may lose the
answer that it has not read yet. So this side says that it is done, and drops all that still comes.
"""

from __future__ import annotations

import asyncio


class Lingering(asyncio.Protocol):
    """Takes a connection over, until the peer has closed it, too, or ``patience_s`` is over."""

    __slots__ = ("_timer",)

    def __init__(self, transport: asyncio.Transport, patience_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(patience_s, transport.abort)
        transport.set_protocol(self)
        if not transport.is_closing():
            transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
