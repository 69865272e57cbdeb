"""Reads lines and writes replies for one SMTP connection."""

import asyncio
from typing import NoReturn

from sandbox.connection import cut

LARGEST_MESSAGE_BYTES = 30 * 1024 * 1024


class Goodbye(Exception):
    """Ends the dialogue: one side has closed, or is to close."""


class Wire:
    """Reads and writes one connection. Every method raises Goodbye when the client has gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def reply(self, text: str) -> None:
        self._writer.write(f"{text}\r\n".encode())
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise Goodbye from error

    async def line(self) -> str:
        return (await self._raw_line()).decode("utf-8", "replace").rstrip("\r\n")

    async def challenge(self, text: str) -> str:
        """Asks for one more line of an AUTH exchange."""
        await self.reply(f"334 {text}")
        return await self.line()

    async def content(self) -> bytes | None:
        """Returns everything up to the line with a single dot, dots unstuffed; None if it was too big (it is read to
        its end all the same).

        Only CR LF ends a line: a server that also accepts a bare LF lets one message smuggle another.
        """
        lines: list[bytes] = []
        size_bytes = 0
        while (line := await self._raw_line()) != b".\r\n":
            size_bytes += len(line)
            if size_bytes <= LARGEST_MESSAGE_BYTES:
                lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines) if size_bytes <= LARGEST_MESSAGE_BYTES else None

    async def hang(self) -> NoReturn:
        """Sends nothing more until the client has closed the connection."""
        try:
            while await self._reader.read(65_536):
                continue
        except ConnectionError as error:
            raise Goodbye from error
        raise Goodbye

    def reset(self) -> NoReturn:
        """Cuts the connection in the middle, as a crash would."""
        cut(self._writer.transport)
        raise Goodbye

    async def _raw_line(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Goodbye from error
        except asyncio.LimitOverrunError as error:
            await self.reply("500 5.5.2 Line too long")
            raise Goodbye from error
