"""What a proxy does wrong at present; every connection of it reads the same object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``up``: from the client to the server; ``down``: back
Direction = Literal["up", "down"]
BOTH: frozenset[Direction] = frozenset(("up", "down"))


@dataclass
class Cut:
    """Reset the first connection that comes to the point, once.

    The point is ``after_bytes`` on from now, or, with ``least_bytes``, ``after_bytes`` (None: half) into the next
    AMQP frame with a payload of at least so many.
    """

    direction: Direction
    after_bytes: int | None = None
    least_bytes: int | None = None


@dataclass
class Faults:
    """None at first. ``held``: directions in which nothing is passed on, only kept."""

    latency_s: float = 0.0
    held: frozenset[Direction] = frozenset()
    cut: Cut | None = None
    cuts_made: int = 0

    def take_cut(self, direction: Direction) -> Cut | None:
        """The cut that waits in this direction, if any."""
        return self.cut if self.cut is not None and self.cut.direction == direction else None
