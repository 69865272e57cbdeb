"""Holds the present faults of a proxy; all its connections read the same object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``up``: from the client to the server; ``down``: back
Direction = Literal["up", "down"]
BOTH: frozenset[Direction] = frozenset(("up", "down"))


@dataclass
class Cut:
    """Resets a connection in the middle of the next AMQP frame with a payload of at least ``least_bytes``, once."""

    direction: Direction
    least_bytes: int


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
