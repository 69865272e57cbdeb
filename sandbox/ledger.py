"""Records every call that a stand-in provider accepted, and counts the calls that it received."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from time import time


def rfc3339(moment_s: float) -> str:
    """Formats a time in UTC with milliseconds: ``2026-01-31T12:00:00.000Z``."""
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Delivery:
    """Records one accepted message to one recipient.

    ``payload`` is parsed only when it is asked for: a thousand calls per second are recorded, and few are looked at.
    ``ended_at`` is None until the answer was given or cut.
    """

    provider: str
    request_id: str | None
    target: str
    payload: Callable[[], object]
    at: float
    ended_at: float | None = None

    def shown(self) -> dict[str, object]:
        return {
            "provider": self.provider,
            "request_id": self.request_id,
            "target": self.target,
            "payload": self.payload(),
            "at": rfc3339(self.at),
            "ended_at": None if self.ended_at is None else rfc3339(self.ended_at),
        }

    def compact(self) -> tuple[str, str | None, str, float, float | None]:
        """Returns (provider, request_id, target, at, ended at); times are Unix seconds. The payload is not parsed."""
        return self.provider, self.request_id, self.target, self.at, self.ended_at


@dataclass(slots=True)
class Tally:
    """Counts one provider's calls: ``calls`` includes refused, unanswered and cut ones; ``accepted`` counts the
    accepted ones.
    """

    calls: int = 0
    accepted: int = 0


@dataclass(slots=True)
class Ledger:
    """Records deliveries within a bound: beyond ``keep`` of them the oldest is forgotten, and
    counted in ``forgotten``.
    """

    keep: int
    clock: Callable[[], float] = time
    forgotten: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    deliveries: deque[Delivery] = field(default_factory=deque)

    def count_call(self, provider: str) -> None:
        self._tally(provider).calls += 1

    def count_accepted(self, provider: str) -> None:
        self._tally(provider).accepted += 1

    def record(self, delivery: Delivery) -> None:
        if len(self.deliveries) >= self.keep:
            self.deliveries.popleft()
            self.forgotten += 1
        self.deliveries.append(delivery)

    def select(self, provider: str | None = None, request_id: str | None = None) -> Iterator[Delivery]:
        """Yields deliveries, oldest first; None selects all."""
        for delivery in self.deliveries:
            if provider not in (None, delivery.provider) or request_id not in (None, delivery.request_id):
                continue
            yield delivery

    def totals(self, providers: Iterable[str]) -> dict[str, dict[str, int]]:
        """Returns ``{provider: {"calls": n, "accepted": n}}``, with zeros for those never called."""
        return {name: asdict(self.tallies.get(name, Tally())) for name in providers}

    def forget_deliveries(self) -> None:
        self.deliveries.clear()
        self.forgotten = 0

    def forget_calls(self) -> None:
        self.tallies.clear()

    def _tally(self, provider: str) -> Tally:
        return self.tallies.setdefault(provider, Tally())
