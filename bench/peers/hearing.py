"""Hears on Redis what a node of the product hears: the wake-ups of all users, over one pattern subscription."""

import asyncio
from collections.abc import Callable
from os import environ
from typing import cast
from urllib.parse import urlsplit

import hiredis

#: What a device is sent when its connection is registered.
HELLO = '{"type":"welcome"}'
_PREFIX = "notify-inbox::"

#: Frames that came at once: for each, its user and its text.
Batch = list[tuple[str, bytes]]


class Hearing(asyncio.Protocol):
    """Gives ``tell`` the frames that have come, without looking into them. A lost connection ends the process."""

    def __init__(self, tell: Callable[[Batch], None]) -> None:
        self._tell = tell
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(f"PSUBSCRIBE {_PREFIX}*\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        batch: Batch = []
        while (arrived := self._reader.gets()) is not False:
            if arrived[0] == b"pmessage":
                user_id = arrived[2].decode()[len(_PREFIX) :]
                # A wake-up is a line with offsets and then one frame per line.
                _, *frames = arrived[3].splitlines()
                batch += [(user_id, frame) for frame in frames]
        if batch:
            self._tell(batch)

    def connection_lost(self, exc: Exception | None) -> None:
        raise SystemExit("the connection to Redis was lost")


async def hear(tell: Callable[[Batch], None]) -> None:
    """Begins to hear; ``tell`` must be quick."""
    address = urlsplit(environ["BENCH_REDIS_URL"])
    host, port = address.hostname or "127.0.0.1", address.port or 6379
    await asyncio.get_running_loop().create_connection(lambda: Hearing(tell), host, port)
