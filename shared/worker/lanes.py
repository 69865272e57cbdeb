"""Which of the waiting messages starts next: the urgent first, and nobody starved."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from shared.broker.incoming import Incoming
from shared.message.channels import PRIORITIES, Lane, Priority

#: of so many starts each waiting lane gets at least one
FLOOR_ONE_OF = 10

_ORDERS: tuple[tuple[Priority, ...], ...] = (
    *((PRIORITIES,) * (FLOOR_ONE_OF - 2)),
    ("medium", "high", "low"),
    ("low", "high", "medium"),
)


class LaneQueue:
    """Messages delivered but not started."""

    def __init__(self) -> None:
        self._waiting: dict[Priority, deque[Incoming]] = {priority: deque() for priority in PRIORITIES}
        self._starts = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def push(self, incoming: Incoming) -> None:
        self._waiting[incoming.lane.priority].append(incoming)

    def pop(self) -> Incoming | None:
        """The next to start, or None. Eight starts of ten go by urgency; one begins at medium and one at low."""
        for priority in _ORDERS[self._starts % FLOOR_ONE_OF]:
            if self._waiting[priority]:
                self._starts += 1
                return self._waiting[priority].popleft()
        return None

    def drain(self) -> Iterator[Incoming]:
        """Take everything out, high first."""
        for waiting in self._waiting.values():
            while waiting:
                yield waiting.popleft()


def share_prefetch(total: int, lanes: tuple[Lane, ...]) -> dict[Lane, int]:
    """A quarter to high, half to medium, a quarter to low; at least one each."""
    quarters = {"high": 1, "medium": 2, "low": 1}
    return {lane: max(1, total * quarters[lane.priority] // 4) for lane in lanes}
