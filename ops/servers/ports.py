"""Ports on the loopback interface: which are free, and which may be chosen."""

import errno
import random
import socket
from collections.abc import Iterable

from ops.errors import ServerFailed

# Ports from 32768 up are given out by the kernel to outgoing connections: a server there may find its own port taken.
FIRST_PORT, LAST_PORT = 21000, 31999


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now. Raises OSError if the address itself is impossible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: without it a port whose last connections are still in TIME_WAIT seems taken.
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
    """Whether somebody listens there. Unlike ``is_free`` it never holds the port, not even for a moment."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def refuse_taken(server: str, ports: Iterable[int]) -> None:
    """Raise ServerFailed naming a port that somebody listens on.

    A server started all the same would end, and the other one's answer would be taken for its own.
    """
    for port in ports:
        if not is_free(port):
            raise ServerFailed(f"{server} cannot start: port {port} is in use")


def free_ports(count: int, first: int = FIRST_PORT, last: int = LAST_PORT) -> list[int]:
    """``count`` different free ports, taken at random so that two runs at once seldom meet.

    Raises RuntimeError if the range holds fewer.
    """
    found: list[int] = []
    for port in random.sample(range(first, last + 1), last - first + 1):
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"only {len(found)} of {count} ports are free between {first} and {last}")
