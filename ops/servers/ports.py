"""Finds free ports on the loopback interface, and checks ports."""

import errno
import random
import socket
from collections.abc import Iterable

from ops.errors import ServerFailed

# The kernel assigns ports from 32768 up to outgoing connections: a server in that range may find its port in use.
FIRST_PORT, LAST_PORT = 21000, 31999


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tells whether a server could listen on the port now. Raises OSError if the address itself is impossible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Servers do this too: without it a port whose last connections are still in TIME_WAIT seems to be in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as exc:
            if exc.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Tells whether a process listens on the port. Unlike ``is_free`` it never binds the port, not even briefly."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def refuse_taken(server: str, ports: Iterable[int]) -> None:
    """Raises ServerFailed, which names the port, if one of the ports is in use.

    A server that was started anyway would end, and the answer of the other process would be mistaken for its own.
    """
    for port in ports:
        if not is_free(port):
            raise ServerFailed(f"{server} cannot start because port {port} is in use")


def free_ports(count: int, first: int = FIRST_PORT, last: int = LAST_PORT) -> list[int]:
    """Returns ``count`` different free ports, chosen at random so that two simultaneous runs seldom choose the same.

    Raises RuntimeError if the range has fewer free ports.
    """
    found: list[int] = []
    for port in random.sample(range(first, last + 1), last - first + 1):
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"only {len(found)} of {count} ports are free between {first} and {last}")
