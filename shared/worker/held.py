"""Messages kept in hand without a claim while their worker is paused."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from shared.broker.incoming import Incoming
from shared.message.channels import Lane
from shared.message.outcome import HoldCause


@dataclass(frozen=True, slots=True)
class Kept:
    incoming: Incoming
    cause: HoldCause


class Held:
    """In the order in which they were taken; high lane first when one is picked to probe with."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept: deque[Kept] = deque()
        self._clock = clock

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, incoming: Incoming, cause: HoldCause) -> None:
        if incoming.held_since is None:
            # Not renewed when a probe with it fails: the broker's ack timeout is not either.
            incoming.held_since = self._clock()
        self._kept.append(Kept(incoming, cause))

    def by_lane(self) -> Counter[Lane]:
        return Counter(kept.incoming.lane for kept in self._kept)

    def take_probe(self, cause: HoldCause, *, again: bool = False) -> Kept | None:
        """One to try ``cause`` with: held for it, of the most urgent lane; None if none is held for it.

        ``again``: one that has been tried before, instead of one that has not.
        """
        fitting = [kept for kept in self._kept if kept.cause == cause and kept.incoming.probed is again]
        if not fitting:
            return None
        rank = {"high": 0, "medium": 1, "low": 2}
        kept = min(fitting, key=lambda kept: rank[kept.incoming.lane.priority])
        self._kept.remove(kept)
        return kept

    def take_older_than(self, age_s: float) -> list[Kept]:
        """Take out those kept for longer than ``age_s`` seconds."""
        before = self._clock() - age_s
        old = [kept for kept in self._kept if (kept.incoming.held_since or 0.0) < before]
        self._kept = deque(kept for kept in self._kept if kept not in old)
        return old

    def forget_void(self) -> None:
        """Those whose channel is gone will come again."""
        self._kept = deque(kept for kept in self._kept if not kept.incoming.is_void)

    def take_all(self) -> list[Kept]:
        kept, self._kept = list(self._kept), deque()
        return kept
