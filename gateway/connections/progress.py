"""Knows which requests the threads of this process work on, and how many of them still wait for a body."""

from __future__ import annotations

import threading
import time
from typing import Any

#: At most this many threads of a process wait for bodies, so that slow clients never take all of them.
MOST_READERS = 96
#: The key of the Request in a WSGI environment.
REQUEST = "notify.request"


class TooManyReaders(Exception):
    """Says that as many bodies as allowed are being read."""


class Request:
    """Holds one request: its peer's address, when its head was complete (monotonic), whether its body is awaited."""

    __slots__ = ("_readers", "address", "reading", "since")

    def __init__(self, address: str, since: float, readers: set[Request]) -> None:
        self.address = address
        self.since = since
        self.reading = False
        self._readers = readers

    def start_reading(self) -> None:
        """Counts this thread among those that wait for a body. Raises TooManyReaders."""
        if len(self._readers) >= MOST_READERS:
            raise TooManyReaders
        self._readers.add(self)
        self.reading = True

    def stop_reading(self) -> None:
        """Says that the body is there, or that it will not come."""
        self.reading = False
        self._readers.discard(self)


class Progress:
    """Holds the requests in progress. All methods may be called from any thread."""

    def __init__(self) -> None:
        # Single operations on a dict or a set are atomic, and a lock would cost each request more than the rest here.
        self._requests: dict[int, Request] = {}
        self._readers: set[Request] = set()

    def begin(self, environ: dict[str, Any]) -> None:
        """Notes that this thread begins a request."""
        request = Request(environ.get("REMOTE_ADDR", ""), time.monotonic(), self._readers)
        environ[REQUEST] = self._requests[threading.get_ident()] = request

    def end(self) -> None:
        """Notes that this thread has ended its request."""
        self._requests.pop(threading.get_ident(), None)

    def requests(self) -> list[Request]:
        """Returns the requests in progress."""
        return list(self._requests.values())
