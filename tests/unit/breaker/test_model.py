"""Runs random steps in any order, and checks what must always hold for a breaker."""

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.breaker.breaker import Permit
from shared.settings.groups.breaker import BreakerPolicy
from tests.support.fakes.breaker import Bench, tell
from tests.support.run.examples import examples

IN_FLIGHT = 256
LEGAL = {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}
POLICY = BreakerPolicy(failures=3, window_calls=6, successes=2)


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(POLICY)
        #: each permit, with the number of state changes before it was given
        self.out: list[tuple[Permit, int]] = []

    @property
    def moves(self) -> int:
        return len(self.bench.heard.moves)

    @property
    def current(self) -> list[Permit]:
        return [permit for permit, given in self.out if given == self.moves]

    def take(self) -> bool:
        permit = self.bench.breaker.permit()
        if permit is not None:
            self.out.append((permit, self.moves))
        return permit is not None

    @rule()
    def ask(self) -> None:
        due = self.bench.breaker.retry_in_s() == 0
        assert self.take() == due, "a caller is admitted after the time that retry_in_s names, and not before"

    @precondition(lambda self: self.bench.state() == "closed" and self.bench.breaker.retry_in_s() == 0)
    @rule()
    def fill(self) -> None:
        while len(self.out) < IN_FLIGHT:
            assert self.take()

    @precondition(lambda self: self.out)
    @rule(data=st.data(), how=st.sampled_from(["success", "slow", "failure", "neither", "misconfigured"]))
    def settle(self, data: st.DataObject, how: str) -> None:
        permit, given = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        moves, wait_s = self.moves, self.bench.breaker.retry_in_s()
        tell(permit, how)
        if given != moves:
            assert (self.moves, self.bench.breaker.retry_in_s()) == (moves, wait_s), "a late result changes nothing"
        elif how == "neither":
            assert self.moves == moves, "a cancelled call changes no state"
        elif how == "misconfigured":
            assert self.bench.state() == "open"

    @rule(pause_s=st.floats(0.1, 100))
    def pause(self, pause_s: float) -> None:
        moves = self.moves
        self.bench.breaker.pause(pause_s)
        assert not self.take()
        assert self.moves == moves

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.bench.clock.now += seconds

    @invariant()
    def at_most_one_probe(self) -> None:
        if self.bench.state() == "half_open":
            assert len(self.current) <= 1

    @invariant()
    def only_legal_moves(self) -> None:
        assert set(self.bench.heard.moves) <= LEGAL

    @invariant()
    def never_longer_than_the_bound(self) -> None:
        assert self.bench.breaker.retry_in_s() <= POLICY.open_max_s * (1 + POLICY.jitter)

    def teardown(self) -> None:
        """Checks that no permit leaks: once all are settled, waiting and successes close the breaker again."""
        for permit, _ in self.out:
            permit.neither()
        for _ in range(10):
            self.bench.clock.now += self.bench.breaker.retry_in_s()
            self.bench.call(fails=False)
        assert self.bench.state() == "closed"


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis_settings(max_examples=examples(60), stateful_step_count=40)
