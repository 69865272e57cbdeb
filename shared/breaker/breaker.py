"""Guards the calls to one provider: a circuit breaker for hundreds of calls in flight on one event loop.

pybreaker keeps the state and calls the listener. This module decides which calls are admitted and which results count,
because pybreaker's own ways (1.4.1) failed when they were measured:

* ``call()`` holds a lock while the guarded call runs: 16 threads with calls of 50 ms made 20 calls/s instead of 315.
* ``calling()`` holds no lock, but with 256 calls in flight it moved to open 252 times instead of once, it admitted 256
  probes when half open, and six cancelled tasks opened it.
* It counts only failures in a row: a provider that failed four of every five calls never opened it.
* Its Redis storage adds two blocking commands to each call, and every process probes. Here each process keeps its own
  state.

Each permit carries the generation in which it was given. A result from an earlier generation is ignored, because the
state has changed in the meantime.

    closed ── failures in a row, or too many failed or slow in the window, or the account is refused ──► open
    open ──── its time is over, and a permit is asked for ──► half open: one permit at a time
    half open ── enough successes ──► closed; one failure ──► open, for twice as long

The account is refused if a provider says so (credentials, a quota that is used up), or if several recipients in a row
are refused for good without proof that recipient or content is at fault. Then only an accepted message is a successful
probe. A recipient that accused the account and was disproved by others is not believed again.

Do not use it from several threads.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerListener,
    CircuitBreakerState,
    CircuitMemoryStorage,
)

from shared.backoff import clamp_retry_after
from shared.breaker.account import Account
from shared.breaker.policy import open_for_s, reason_to_open
from shared.breaker.report import BreakerListener, Silent, State
from shared.breaker.window import CallWindow
from shared.settings.groups.breaker import BreakerPolicy

Forced = Literal["open", "closed"] | None

_STATES: dict[str, State] = {STATE_CLOSED: "closed", STATE_HALF_OPEN: "half_open", STATE_OPEN: "open"}


class Permit:
    """Gives the right to make one call, and takes its result; only the first result that it is told counts.

    As a context manager it reports neither success nor failure at the end of the block, unless a result was told
    before. So a cancelled call frees its place.
    """

    __slots__ = ("_breaker", "_generation")

    def __init__(self, breaker: Breaker, generation: int) -> None:
        self._breaker: Breaker | None = breaker
        self._generation = generation

    def success(self, duration_s: float, target: str = "") -> None:
        """Reports that the provider accepted the message to ``target``."""
        if breaker := self._current():
            breaker._succeeded(duration_s, target)

    def refused(self, duration_s: float) -> None:
        """Reports that the provider did its work and proved that the message's recipient or content is at fault."""
        if breaker := self._current():
            breaker._refused(duration_s)

    def rejected(self, target: str, message: str, duration_s: float) -> bool:
        """Reports a permanent refusal that does not prove whose fault it is.

        ``target`` and ``message`` are those of the call. Returns True if it speaks for the account (the breaker is open
        then): the message is not at fault.
        """
        breaker = self._breaker
        if current := self._current():
            return current._rejected(target, message, duration_s)
        return breaker is not None and breaker._account.refused

    def failure(self, duration_s: float) -> None:
        """Reports that the provider did not do its work: 5xx, timeout, connection error."""
        if breaker := self._current():
            breaker._record(failed=True, duration_s=duration_s)

    def misconfigured(self, target: str = "") -> bool:
        """Reports that the account or its credentials were refused; the breaker opens at once.

        Returns False if ``target``'s earlier accusation was disproved: then this counts as neither success nor failure.
        """
        breaker = self._current()
        return breaker is None or breaker._accused(target, "credentials refused")

    def exhausted(self, target: str = "", retry_after_s: float | None = None) -> bool:
        """Reports that the account's quota is used up; the breaker opens, for at least ``retry_after_s`` (up to 1 h).

        Returns False as ``misconfigured`` does.
        """
        breaker = self._current()
        return breaker is None or breaker._accused(target, "quota used up", retry_after_s)

    def throttled(self, target: str, retry_after_s: float | None, *, whole_provider: bool) -> bool:
        """Reports that the provider asked to slow down; this counts as neither success nor failure.

        Returns True if the limit holds for all its messages: it is that of the ``whole_provider``, or several targets
        in a row, without a success between, were throttled. Then the provider is paused for ``retry_after_s`` seconds
        (1 s to 1 h), unless it is None.
        """
        breaker = self._current()
        return whole_provider if breaker is None else breaker._throttled(target, retry_after_s, whole_provider)

    def neither(self) -> None:
        """Reports that the call says nothing about the provider, or was never made."""
        if breaker := self._current():
            breaker._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.neither()

    def _current(self) -> Breaker | None:
        breaker, self._breaker = self._breaker, None
        # Ignore late results: 255 failures after the one that opened the breaker must not keep it open for longer.
        if breaker is None or breaker._generation != self._generation:
            return None
        return breaker


class Breaker:
    """Admits calls to one provider with one credential, as ``policy`` says. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        clock: Callable[[], float] = time.monotonic,
        listener: BreakerListener | None = None,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.policy = policy
        self._clock = clock
        self._uniform = uniform
        self._listener = listener or Silent()
        self._relay = _Relay(self._listener)
        self._storage = CircuitMemoryStorage(STATE_CLOSED)
        self._circuit = CircuitBreaker(name=name, state_storage=self._storage, listeners=[self._relay])
        self._window = CallWindow(policy.window_s)
        self._forced: Forced = None
        self._generation = 0
        self._failures_in_a_row = 0
        self._successes = 0
        self._reopenings = 0
        self._open_until = self._paused_until = float("-inf")
        self._probing = False
        self._throttled_targets: set[str] = set()
        self._account = Account(policy.rejected_targets)

    @property
    def state(self) -> State:
        """Returns the present state. Open lasts until a permit is asked for after its time is over."""
        return _STATES[self._circuit.current_state]

    @property
    def forced(self) -> Forced:
        """Returns the state that an operator has forced, or None."""
        return self._forced

    @property
    def is_open(self) -> bool:
        """Returns True if not every call is admitted now: the breaker is open, half open or paused."""
        if self._forced is not None:
            return self._forced == "open"
        return self._circuit.current_state != STATE_CLOSED or self._clock() < self._paused_until

    def permit(self) -> Permit | None:
        """Returns a permit to make one call now, or None."""
        if self._forced is None:
            now = self._clock()
            if now < self._paused_until:
                return None
            state = self._circuit.current_state
            if state == STATE_OPEN:
                if now < self._open_until:
                    return None
                self._move(STATE_HALF_OPEN, "trying again")
            if state != STATE_CLOSED:
                if self._probing:
                    return None
                self._probing = True
        elif self._forced == "open":
            return None
        return Permit(self, self._generation)

    def retry_in_s(self) -> float:
        """Returns the seconds until it makes sense to ask for a permit; 0 if it makes sense now."""
        if self._forced is not None:
            return self.policy.probe_s if self._forced == "open" else 0.0
        now = self._clock()
        wait_s = max(0.0, self._paused_until - now)
        if self._circuit.current_state == STATE_OPEN:
            wait_s = max(wait_s, self._open_until - now)
        elif self._probing:
            wait_s = max(wait_s, self.policy.probe_s)
        return wait_s

    def pause(self, pause_s: float) -> None:
        """Gives no permits for ``pause_s`` seconds; this is not a failure. A pause that ends later already stays."""
        now = self._clock()
        is_new = now >= self._paused_until
        self._paused_until = max(self._paused_until, now + pause_s)
        self._throttled_targets.clear()
        # All calls in flight may be throttled too: log one line, not 256.
        if is_new:
            self._listener.paused(self.name, pause_s)

    def force(self, to: Forced) -> None:
        """Sets an operator's order: ``open`` admits no call, ``closed`` admits all, None ends the order.

        After a forced ``open`` ends, probes must succeed before the breaker closes. To repeat an order changes nothing.
        """
        if to == self._forced:
            return
        self._forced = to
        if to is None and self._circuit.current_state == STATE_OPEN:
            self._open_until = self._clock()
            self._start_generation()
        else:
            self._move(STATE_OPEN if to == "open" else STATE_CLOSED, "operator")

    def give_up(self, why: str) -> None:
        """Opens a closed breaker now, because the caller knows more than the calls show. Does nothing if forced."""
        if self._circuit.current_state == STATE_CLOSED:
            self._open(why)

    def _succeeded(self, duration_s: float, target: str) -> None:
        if self._throttled_targets:
            self._throttled_targets.clear()
        self._account.accepted(target)
        self._record(failed=False, duration_s=duration_s)

    def _refused(self, duration_s: float) -> None:
        if self._account.refused:
            # A refused account may learn of a wrong recipient, too: this says nothing about the account.
            self._free()
        else:
            self._record(failed=False, duration_s=duration_s)

    def _rejected(self, target: str, message: str, duration_s: float) -> bool:
        is_probe = self._account.refused
        if self._forced is None and self._account.rejected(target, message):
            row = f"{self.policy.rejected_targets} recipients in a row refused for good"
            self._open("probe refused" if is_probe else row)
            return True
        self._record(failed=False, duration_s=duration_s)
        return False

    def _accused(self, target: str, why: str, retry_after_s: float | None = None) -> bool:
        if self._forced is not None:
            return True
        if not self._account.accused(target):
            self._free()
            return False
        self._open(why)
        if retry_after_s is not None:
            least_s = clamp_retry_after(retry_after_s, self.policy.probe_s)
            self._open_until = max(self._open_until, self._clock() + least_s)
        return True

    def _record(self, *, failed: bool, duration_s: float) -> None:
        if self._circuit.current_state == STATE_CLOSED:
            self._record_closed(failed, duration_s)
        elif failed:
            self._open("probe failed")
        else:
            self._probe_succeeded()

    def _record_closed(self, failed: bool, duration_s: float) -> None:
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
        self._window.add(self._clock(), failed=failed, slow=duration_s > self.policy.slow_s)
        why = reason_to_open(self.policy, self._failures_in_a_row, self._window)
        if why is not None:
            self._open(why)

    def _probe_succeeded(self) -> None:
        self._probing = False
        self._successes += 1
        if self._successes >= self.policy.successes:
            self._account.restored()
            self._move(STATE_CLOSED, f"{self._successes} probes succeeded")

    def _throttled(self, target: str, retry_after_s: float | None, whole_provider: bool) -> bool:
        self._free()
        whole = whole_provider or len(self._throttled_targets | {target}) >= self.policy.throttled_targets
        if not whole:
            self._throttled_targets.add(target)
        if whole and retry_after_s is not None:
            self.pause(clamp_retry_after(retry_after_s, self.policy.probe_s))
        return whole

    def _free(self) -> None:
        self._probing = False

    def _open(self, why: str) -> None:
        if self._forced is not None:
            return
        if self._circuit.current_state != STATE_CLOSED:
            self._reopenings += 1
        self._open_until = self._clock() + open_for_s(self.policy, self._reopenings, self._uniform)
        self._move(STATE_OPEN, why)

    def _move(self, to: str, why: str) -> None:
        self._start_generation()
        if to == STATE_CLOSED:
            self._reopenings = 0
            self._account.cleared()
        if to == self._circuit.current_state:
            return
        self._relay.why = why
        # pybreaker stores the state only after it has called its listeners. One that raises (for example because of a
        # broken log pipe) must not prevent the change, so the state is stored first.
        self._storage.state = to
        match to:
            case "open":
                self._circuit.open()
            case "half-open":
                self._circuit.half_open()
            case _:
                self._circuit.close()

    def _start_generation(self) -> None:
        self._generation += 1
        self._failures_in_a_row = self._successes = 0
        self._probing = False
        self._throttled_targets.clear()
        self._window.clear()


class _Relay(CircuitBreakerListener):
    """Passes pybreaker's state changes to our listener, with our names of the states."""

    def __init__(self, listener: BreakerListener) -> None:
        self._listener = listener
        self.why = ""

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        old = _STATES[old_state.name] if old_state is not None else "closed"
        self._listener.changed(cb.name or "", old, _STATES[new_state.name], self.why)
