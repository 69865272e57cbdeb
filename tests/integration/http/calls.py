"""Provides the request of these tests and an address that never accepts a connection."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.errors import Unavailable
from shared.http.client import HttpClient, Response

BODY = b"x" * 600


async def post(client: HttpClient, url: str, timeout_s: float = 5) -> Response:
    return await client.post(f"{url}/x", BODY, {"content-type": "text/plain"}, timeout_s)


async def fails_ambiguously(client: HttpClient, url: str, timeout_s: float = 5) -> bool:
    """Makes a call that must fail, and returns whether the vendor may have received it."""
    with pytest.raises(Unavailable) as caught:
        await post(client, url, timeout_s)
    return caught.value.ambiguous


@contextmanager
def full_backlog() -> Iterator[tuple[str, int]]:
    """Yields an address at which a connection attempt never ends."""
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # a queue of one: the kernel drops all later connection attempts
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()
