"""Limits how much a device may say: it has an allowance of frames that grows with the time."""

from __future__ import annotations

from enum import Enum, auto

#: Frames per second from one device, and how many may come at once.
FRAMES_PER_S, BURST = 20.0, 40.0
#: With this many frames too many within this time, the connection ends.
STRIKES, STRIKES_S = 3, 10.0


class Verdict(Enum):
    """Says what becomes of a frame."""

    MAY = auto()
    REFUSED = auto()
    #: it is refused, and the connection ends
    LAST = auto()


class Allowance:
    """Counts the frames of one device; times are monotonic seconds."""

    __slots__ = ("_at", "_left", "_strike_at", "_strikes")

    def __init__(self) -> None:
        self._left, self._at = BURST, 0.0
        self._strikes, self._strike_at = 0, 0.0

    def take(self, now: float) -> Verdict:
        """Takes one frame from the allowance."""
        self._left = min(BURST, self._left + (now - self._at) * FRAMES_PER_S)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return Verdict.MAY
        if now - self._strike_at > STRIKES_S:
            self._strike_at, self._strikes = now, 0
        self._strikes += 1
        return Verdict.LAST if self._strikes >= STRIKES else Verdict.REFUSED
