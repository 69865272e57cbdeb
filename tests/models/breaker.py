"""Models the breaker plainly: keeps everything that was told since the last change of state, and evaluates all of it.

It has no counters and no moving window: it computes from the whole list what the product counts as it goes. Times are
whole seconds, and the policy's window must be thirty of them, because the product's window forgets in thirtieths.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from shared.breaker.breaker import Forced
from shared.breaker.report import State
from shared.settings.groups.breaker import BreakerPolicy

Told = Literal["success", "slow", "refused", "failure", "neither"]


@dataclass(frozen=True, slots=True)
class Call:
    """Models a permit, and the change of state after which it was given."""

    era: int


@dataclass(slots=True)
class BreakerModel:
    policy: BreakerPolicy
    state: State = "closed"
    forced: Forced = None
    #: changes of state and of the operator's override so far
    era: int = 0
    #: (when, what) since the last such change
    told: list[tuple[int, Told]] = field(default_factory=list)
    #: recipients throttled since the last such change, with no success and no pause in between
    throttled: set[str] = field(default_factory=set)
    #: recipients refused for good and without proof, with no success in between
    rejected: set[str] = field(default_factory=set)
    #: the account was refused since it was last closed, and who said so ('': several)
    account_refused: bool = False
    accuser: str = ""
    disproved: set[str] = field(default_factory=set)
    #: failed probes since it was last closed
    reopenings: int = 0
    open_until: float = 0
    paused_until: float = 0
    probing: bool = False

    def permit(self, now: int) -> Call | None:
        if self.forced == "open" or (self.forced is None and not self._admits(now)):
            return None
        if self.forced is None and self.state == "open":
            self._move("half_open")
        self.probing = self.forced is None and self.state == "half_open"
        return Call(self.era)

    def is_open(self, now: int) -> bool:
        if self.forced is not None:
            return self.forced == "open"
        return self.state != "closed" or now < self.paused_until

    def retry_in_s(self, now: int) -> float:
        if self.forced is not None:
            return self.policy.probe_s if self.forced == "open" else 0
        waits: list[float] = [0, self.paused_until - now]
        if self.state == "open":
            waits.append(self.open_until - now)
        elif self.probing:
            waits.append(self.policy.probe_s)
        return max(waits)

    def tell(self, now: int, call: Call, what: Told) -> None:
        if call.era != self.era:
            return
        self.probing = False
        if what == "refused" and self.account_refused:
            return
        self.told.append((now, what))
        if what in ("success", "slow"):
            self.throttled.clear()
            self.rejected.clear()
        if self.forced is not None:
            return
        if self.state == "half_open" and what == "failure":
            self._open(now)
        elif self.state == "half_open" and self._successes >= self.policy.successes:
            self.disproved |= {self.accuser} - {""}
            self._move("closed")
        elif self.state == "closed" and what != "neither" and self._too_bad(now):
            self._open(now)

    def reject(self, now: int, call: Call, target: str) -> bool:
        if call.era != self.era:
            return self.account_refused
        if self.forced is None:
            self.rejected.add(target)
            if self.account_refused or len(self.rejected) >= self.policy.rejected_targets:
                self.account_refused = True
                self.rejected.clear()
                self._open(now)
                return True
        self.tell(now, call, "refused")
        return False

    def accuse(self, now: int, call: Call, target: str, retry_after_s: float | None) -> bool:
        if call.era != self.era or self.forced is not None:
            self.probing = self.probing and call.era != self.era
            return True
        if target in self.disproved:
            self.probing = False
            return False
        self.account_refused, self.accuser = True, target
        self._open(now)
        if retry_after_s is not None:
            self.open_until = max(self.open_until, now + min(max(retry_after_s, self.policy.probe_s), 3600))
        return True

    def pause(self, now: int, pause_s: float) -> None:
        self.paused_until = max(self.paused_until, now + pause_s)
        self.throttled.clear()

    def throttle(self, now: int, call: Call, target: str, retry_after_s: float | None, whole_provider: bool) -> None:
        if call.era != self.era:
            return
        self.probing = False
        if not whole_provider and len(self.throttled | {target}) < self.policy.throttled_targets:
            self.throttled.add(target)
        elif retry_after_s is not None:
            self.pause(now, min(max(retry_after_s, self.policy.probe_s), 3600))

    def force(self, now: int, to: Forced) -> None:
        if to == self.forced:
            return
        self.forced = to
        if to is None:
            if self.state == "open":
                self.open_until = now
            self._era()
        else:
            self._move("open" if to == "open" else "closed")

    @property
    def _successes(self) -> int:
        return sum(what in ("success", "slow", "refused") for _, what in self.told)

    def _admits(self, now: int) -> bool:
        if now < self.paused_until or (self.state == "open" and now < self.open_until):
            return False
        return not self.probing

    def _too_bad(self, now: int) -> bool:
        heard = [(when, what) for when, what in self.told if what != "neither"]
        last = [what for _, what in heard[-self.policy.failures :]]
        if last == ["failure"] * self.policy.failures:
            return True
        lately = [what for when, what in heard if when > now - self.policy.window_s]
        if len(lately) < self.policy.window_calls:
            return False
        failed, slow = lately.count("failure"), lately.count("slow")
        return failed >= self.policy.failure_rate * len(lately) or slow >= self.policy.slow_rate * len(lately)

    def _open(self, now: int) -> None:
        self.reopenings = 0 if self.state == "closed" else self.reopenings + 1
        self.open_until = now + min(self.policy.open_max_s, self.policy.open_s * 2**self.reopenings)
        self._move("open")

    def _move(self, to: State) -> None:
        self.state = to
        if to == "closed":
            self.reopenings = 0
            self.account_refused, self.accuser = False, ""
            self.rejected.clear()
        self._era()

    def _era(self) -> None:
        self.era += 1
        self.told.clear()
        self.throttled.clear()
        self.probing = False
