"""Names the parts of a node that its connections use."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.websocket.desk import Desk
from services.websocket.door import Door
from services.websocket.hub import Hub
from services.websocket.seats import Seats
from services.websocket.socket_metrics import SocketMetrics
from shared.realtime.close_codes import CLOSE_CODES, CloseCode

#: From this size on nothing more is written to a device until it has read most of it, bytes.
FULL_BYTES, DRAINED_BYTES = 64 * 1024, 16 * 1024
#: A device that has more than this unsent is given up, and one that is full and takes no byte for this long, seconds.
MOST_UNSENT_BYTES, STALLED_S = 1024 * 1024, 30.0
#: How long a head may take, and then ``auth``, seconds.
HEAD_S, AUTH_S = 5.0, 5.0
#: How long a device that need not prove anything may take to say from where it resumes, seconds.
OPEN_AUTH_S = 0.25
#: Largest head of a request, bytes.
HEAD_BYTES = 8 * 1024
#: With this many frames that cannot be understood, the connection ends.
MOST_FAULTS = 3
#: How long before the end of its token a device is told, seconds.
EXPIRING_S = 60.0
#: The connections are visited in this number of parts, each once every SOCKET_PING_S.
SLOTS = 20
#: How long the closing handshake may take, seconds.
CLOSING_S = 2.0

#: The codes that are counted by their number; 1001 is that of a page that is left, 1005 a close without a code.
_CODES = frozenset({1001, 1005} | {one.code for one in CLOSE_CODES})


class Connection(Protocol):
    """Is one connection of a device: a socket, an event stream or a long poll."""

    def end(self, code: CloseCode, after_ms: int | None = None) -> None: ...

    def beat(self) -> None:
        """Is called once every SOCKET_PING_S: sends a sign of life, and ends a device that has given none."""

    def look(self, now: float) -> None:
        """Is called more often: ends a device that does not read. ``now`` is monotonic, seconds."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Holds the parts. ``ping_s`` is SOCKET_PING_S; ``auth_s`` is how long a device may take to say who it is."""

    hub: Hub
    door: Door
    seats: Seats
    desk: Desk
    metrics: SocketMetrics
    ping_s: float
    run: Callable[[Coroutine[Any, Any, None]], None]
    auth_s: float = AUTH_S
    stalled_s: float = STALLED_S
    #: all connections of this node, each with the part of SOCKET_PING_S in which it is visited
    connections: dict[Connection, int] = field(default_factory=dict)
    #: those that have been told to end, and whose closing handshake is not over
    closing: set[Connection] = field(default_factory=set)

    def enter(self, connection: Connection, transport: str, dialect: str) -> None:
        """Notes a new connection."""
        self.connections[connection] = random.randrange(SLOTS)
        self.metrics.connections.labels(transport, dialect).inc()

    def leave(self, connection: Connection, transport: str, dialect: str, code: int) -> None:
        """Notes that a connection has ended, with this close code."""
        self.metrics.connections.labels(transport, dialect).dec()
        # A device may close with any code that it likes; each would be a time series of its own.
        self.metrics.closed.labels(str(code) if code in _CODES else "other").inc()
        self.connections.pop(connection, None)
