"""What stands before something that may have stopped answering: the broker, or Redis.

1. While answers come, everyone is let through, up to ``max_waiting`` at once.
2. One missed deadline shuts it: everyone is turned away at once, except one probe every ``probe_every_s``.
3. One answer opens it. A miss by somebody let through before that opening is old news and shuts nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Refusal = Literal["full", "shut"]

#: how long a missed deadline tells of now, seconds
NEWS_S = 10.0


class ProbeGate:
    """For one thread (``shut`` and ``silent`` may be read by any). ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float], *, max_waiting: int, probe_every_s: float = 1.0) -> None:
        self._clock = clock
        self._max_waiting = max_waiting
        self._probe_every_s = probe_every_s
        self._waiting = 0
        self._shut = False
        self._next_probe_at = 0.0
        self._missed_at = 0.0
        self._generation = 0

    @property
    def shut(self) -> bool:
        return self._shut

    @property
    def silent(self) -> bool:
        """Whether a deadline was missed just now.

        Not for ever: who is sent no requests while it is silent would have no probe that could tell otherwise.
        """
        return self._shut and self._clock() < self._missed_at + NEWS_S

    def admit(self) -> Pass | Refusal:
        """A Pass, to be given back by exactly one of its three methods; or why not."""
        if self._shut:
            now = self._clock()
            if now < self._next_probe_at:
                return "shut"
            self._next_probe_at = now + self._probe_every_s
        elif self._waiting >= self._max_waiting:
            return "full"
        self._waiting += 1
        return Pass(self, self._generation)

    def _answered(self) -> None:
        self._waiting -= 1
        if self._shut:
            self._shut = False
            self._generation += 1

    def _missed(self, generation: int) -> None:
        self._waiting -= 1
        if generation == self._generation:
            self._missed_at = self._clock()
            if not self._shut:
                self._shut = True
                self._next_probe_at = self._missed_at + self._probe_every_s

    def _learned_nothing(self) -> None:
        self._waiting -= 1


class Pass:
    """Leave to try once."""

    __slots__ = ("_gate", "_generation")

    def __init__(self, gate: ProbeGate, generation: int) -> None:
        self._gate = gate
        self._generation = generation

    def answered(self) -> None:
        """An answer came in time, whatever it said."""
        self._gate._answered()

    def missed(self) -> None:
        """No answer came in time."""
        self._gate._missed(self._generation)

    def neither(self) -> None:
        """It was not tried after all."""
        self._gate._learned_nothing()
