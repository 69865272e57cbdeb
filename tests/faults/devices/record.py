"""Records what one device was sent, and how its connections ended. The scenario's end adds how it differs."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple


class End(NamedTuple):
    """Says how a connection ended; ``code`` is that of the server, 1006 if it was cut. ``at`` is Unix time."""

    code: int
    at: float
    after_ms: int | None = None


class Made(NamedTuple):
    """Is one change of a user's inbox, committed at ``at`` (Unix seconds) or a moment later."""

    user: str
    epoch: str
    offset: int
    at: float


@dataclass
class Life:
    """Is the time during which a device followed an inbox on one connection, in one epoch.

    It began at ``since`` with everything up to ``start``. ``reached`` holds each later offset, and when it was shown.
    """

    epoch: str
    start: int
    since: float
    reached: list[tuple[int, float]] = field(default_factory=list)
    until: float | None = None

    def goes_on_in(self, epoch: str) -> bool:
        """Tells whether offsets of this epoch follow on those before; the first change of an inbox makes its epoch."""
        if not self.epoch:
            self.epoch = epoch
        return self.epoch == epoch

    def lag_s(self, change: Made) -> float | None:
        """Returns how long the change was not shown although the device was connected; None if that says nothing.

        If it was never shown, that is the time until the connection ended.
        """
        if change.epoch != self.epoch or change.offset <= self.start:
            return None
        began = max(change.at, self.since)
        place = bisect_left(self.reached, change.offset, key=lambda one: one[0])
        if place < len(self.reached):
            return max(0.0, self.reached[place][1] - began)
        return None if self.until is None or self.until <= began else self.until - began


@dataclass
class DeviceRecord:
    """Holds everything that the promises to one device are checked with."""

    name: str
    user: str
    lives: list[Life] = field(default_factory=list)
    #: the connections that were ended by others; those that the device itself has left are not here
    ends: list[End] = field(default_factory=list)
    #: changes that came twice on one connection, and notifications that were announced twice
    doubles: list[str] = field(default_factory=list)
    #: frames that did not follow on the position: something between was never sent
    gaps: list[str] = field(default_factory=list)
    #: how often it was told to forget everything, after its first load
    resets: int = 0
    #: what it showed differently from the store, at the end or at a comparison before
    differences: list[str] = field(default_factory=list)

    @property
    def shown(self) -> int:
        """Counts the changes that were shown while it was connected."""
        return sum(len(life.reached) for life in self.lives)

    def begin(self, epoch: str, offset: int, at: float) -> None:
        """Notes that the device is up to date, and follows from now on."""
        self.end(at)
        self.lives.append(Life(epoch, offset, at))

    def reach(self, offset: int, at: float) -> None:
        """Notes that it shows everything up to ``offset``; what it finds after it has stopped to follow is not news."""
        if self.lives[-1].until is None:
            self.lives[-1].reached.append((offset, at))

    def end(self, at: float) -> None:
        """Notes that it does not follow any more."""
        if self.lives and self.lives[-1].until is None:
            self.lives[-1].until = at
