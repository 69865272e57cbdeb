"""Provides a server that works while the test's event loop does not run."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class ThreadedServer:
    """Answers the first request on each connection from a separate thread, ``pause_s`` seconds after it came."""

    def __init__(self, pause_s: float) -> None:
        self.accepted: list[socket.socket] = []
        self.requests = 0
        self._pause_s = pause_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self.accepted:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # stopped
            self.accepted.append(connection)
            while not connection.recv(65536).endswith(b"x"):
                continue
            self.requests += 1
            time.sleep(self._pause_s)
            connection.sendall(_OK)


@contextmanager
def threaded_server(pause_s: float = 0) -> Iterator[ThreadedServer]:
    server = ThreadedServer(pause_s)
    try:
        yield server
    finally:
        server.stop()
