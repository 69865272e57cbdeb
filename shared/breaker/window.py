"""Counts the calls of the last seconds by their results, and drops old calls by itself."""

from __future__ import annotations

from collections import deque

#: number of slices of the window; it moves on by one slice at a time
_SLICES = 30


class _Slice:
    __slots__ = ("calls", "failed", "number", "slow")

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = self.failed = self.slow = 0


class CallWindow:
    """Counts ``calls``, ``failed`` and ``slow`` within the last ``length_s`` seconds, exact to a thirtieth of it."""

    __slots__ = ("_slice_s", "_slices", "calls", "failed", "slow")

    def __init__(self, length_s: float) -> None:
        self._slice_s = length_s / _SLICES
        self._slices: deque[_Slice] = deque()
        self.calls = self.failed = self.slow = 0

    def add(self, now_s: float, *, failed: bool, slow: bool) -> None:
        """Counts one call that ended at ``now_s`` (monotonic, seconds)."""
        number = int(now_s / self._slice_s)
        slices = self._slices
        if not slices or slices[-1].number != number:
            self._forget(number - _SLICES)
            slices.append(_Slice(number))
        current = slices[-1]
        current.calls += 1
        current.failed += failed
        current.slow += slow
        self.calls += 1
        self.failed += failed
        self.slow += slow

    def clear(self) -> None:
        self._slices.clear()
        self.calls = self.failed = self.slow = 0

    def _forget(self, last_number: int) -> None:
        while self._slices and self._slices[0].number <= last_number:
            old = self._slices.popleft()
            self.calls -= old.calls
            self.failed -= old.failed
            self.slow -= old.slow
