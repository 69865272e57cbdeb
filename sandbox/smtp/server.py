"""Listens for mail clients: accepts connections, and ends them all when the process stops."""

import asyncio

from sandbox.exchange import Bench
from sandbox.smtp.session import Session
from sandbox.smtp.wire import Wire

#: Longest line, bytes. It is far above the 998 octets of RFC 5322, because mail clients do send longer lines.
LONGEST_LINE_BYTES = 1024 * 1024


class MailServer:
    """Listens after ``open``; ``close`` ends all connections."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._sessions: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Starts to listen and returns the port (useful when 0 was asked for). Raises OSError."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=LONGEST_LINE_BYTES, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.create_task(self._serve(reader, writer))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await Session(Wire(reader, writer), self._bench).run()
        finally:
            writer.close()
