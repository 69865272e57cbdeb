"""Fakes a clock that moves when told, and a listener that remembers."""

from shared.breaker.breaker import Breaker, Permit
from shared.breaker.report import State
from shared.settings.groups.breaker import BreakerPolicy


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Remembering:
    def __init__(self) -> None:
        self.moves: list[tuple[State, State]] = []
        self.reasons: list[str] = []
        self.pauses: list[float] = []

    def changed(self, name: str, old: State, new: State, why: str) -> None:
        self.moves.append((old, new))
        self.reasons.append(why)

    def paused(self, name: str, pause_s: float) -> None:
        self.pauses.append(pause_s)


class Bench:
    """Holds a breaker with its clock, its listener and a draw in the middle, so that there is no jitter."""

    def __init__(self, policy: BreakerPolicy | None = None, draw: float = 0.5) -> None:
        self.clock = Clock()
        self.heard = Remembering()
        self.breaker = Breaker("push/fcm", policy or BreakerPolicy(), self.clock, self.heard, lambda: draw)

    def state(self) -> State:
        return self.breaker.state

    def permit(self) -> Permit:
        """Returns the permit for a call, which the breaker must admit."""
        permit = self.breaker.permit()
        assert permit is not None, "not admitted"
        return permit

    def call(self, *, fails: bool, duration_s: float = 0.1) -> None:
        """Makes one call from permit to result; the breaker must admit it."""
        permit = self.permit()
        if fails:
            permit.failure(duration_s)
        else:
            permit.success(duration_s)

    def open(self) -> None:
        """Opens the breaker by consecutive failures."""
        for _ in range(self.breaker.policy.failures):
            self.call(fails=True)
        assert self.state() == "open"


def tell(permit: Permit, how: str) -> None:
    """Tells ``permit`` how its call ended; a call that was ``slow`` took longer than any policy of the tests allows."""
    match how:
        case "success":
            permit.success(0.1)
        case "slow":
            permit.success(9.0)
        case "refused":
            permit.refused(0.1)
        case "failure":
            permit.failure(0.1)
        case "neither":
            permit.neither()
        case "misconfigured":
            permit.misconfigured()
