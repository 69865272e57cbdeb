"""Cuts connections to a PostgreSQL that has stopped to answer.

The server itself ends statements that take too long, but a server that is frozen ends nothing, and its kernel still
acknowledges every packet: the client would wait without end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: how long one transaction may take at most, seconds: its statements have limits that are shorter
SILENCE_S = 15.0


class Watchdog:
    """Watches the transactions of all threads with one thread, which runs while there are transactions."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: dict[int, float] = {}
        self._running = False

    @contextmanager
    def over(self, fd: int) -> Iterator[None]:
        """Cuts the connection with this descriptor if the block takes too long; its caller gets an error."""
        with self._changed:
            self._deadlines[fd] = time.monotonic() + SILENCE_S
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, name="store-watchdog", daemon=True).start()
        try:
            yield
        finally:
            with self._changed:
                self._deadlines.pop(fd, None)

    def _watch(self) -> None:
        idle_until_s = time.monotonic() + SILENCE_S
        while True:
            with self._changed:
                now_s = time.monotonic()
                # The descriptor belongs to its connection until the block has ended, which needs this lock.
                for fd in [fd for fd, deadline_s in self._deadlines.items() if deadline_s <= now_s]:
                    del self._deadlines[fd]
                    _cut(fd)
                if self._deadlines:
                    idle_until_s = now_s + SILENCE_S
                elif now_s >= idle_until_s:
                    self._running = False
                    return
            time.sleep(SILENCE_S / 10)


def _cut(fd: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as same:
        same.shutdown(socket.SHUT_RDWR)
