"""Holds the present faults of a proxy; all its connections read the same object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``up``: from the client to the server; ``down``: back
Direction = Literal["up", "down"]
BOTH: frozenset[Direction] = frozenset(("up", "down"))


@dataclass
class Cut:
    """Resets the first connection that comes to the point, once.

    The point is ``after_bytes`` from now, or, if ``least_bytes`` is given, ``after_bytes`` (None: half) into the next
    AMQP frame with a payload of at least ``least_bytes``.
    """

    direction: Direction
    after_bytes: int | None = None
    least_bytes: int | None = None


@dataclass
class Faults:
    """Holds no fault at first. ``held``: directions in which bytes are kept and not passed on."""

    latency_s: float = 0.0
    held: frozenset[Direction] = frozenset()
    cut: Cut | None = None
    cuts_made: int = 0

    def take_cut(self, direction: Direction) -> Cut | None:
        """Removes and returns the cut that waits in this direction, if there is one."""
        return self.cut if self.cut is not None and self.cut.direction == direction else None
