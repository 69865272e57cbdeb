"""Chooses the provider of the next call among a channel's providers, in order of preference."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from shared.breaker.breaker import Breaker
from shared.breaker.report import SEVERITY, BreakerReport, State
from shared.metrics import Metrics
from shared.providers.pace import Pace
from shared.providers.provider import Provider
from shared.settings.groups.breaker import BreakerPolicy

#: If a call would wait longer than this for its turn at a provider, the next provider gets it, seconds.
OVERFLOW_AFTER_S = 5.0


class Guarded:
    """Holds a provider with one credential, the breaker in front of it, and the ``pace`` and ``room`` of its calls."""

    __slots__ = ("breaker", "pace", "provider", "room")

    def __init__(self, provider: Provider[Any], breaker: Breaker) -> None:
        self.provider = provider
        self.breaker = breaker
        self.pace = Pace(lambda: breaker.retry_in_s() <= 0)
        self.room = asyncio.Semaphore(provider.connections)


class Providers:
    """Chooses the first of a channel's providers that may be called, and answers for all of them."""

    def __init__(self, guarded: Sequence[Guarded]) -> None:
        if not guarded:
            raise ValueError("a channel needs at least one provider")
        self._guarded = tuple(guarded)

    @classmethod
    def of(cls, channel: str, providers: Sequence[Provider[Any]], policy: BreakerPolicy, metrics: Metrics) -> Providers:
        """Puts each provider behind its own breaker, named ``channel/provider``, which reports to ``metrics``."""
        made = [
            Guarded(p, Breaker(f"{channel}/{p.name}", policy, listener=BreakerReport(metrics, channel, p.name)))
            for p in providers
        ]
        for guarded in made:
            metrics.rate_limit.labels(channel, guarded.provider.name).set_function(guarded.pace.limit_per_s)
        return cls(made)

    def __len__(self) -> int:
        return len(self._guarded)

    def choose(self, without: Collection[str] = ()) -> Guarded | None:
        """Returns the first provider that would admit a call now and is not in ``without``; None if there is none.

        One at which the call would wait long for its turn is passed over, unless all others would take longer.
        """
        best: tuple[float, Guarded] | None = None
        for guarded in self._guarded:
            if guarded.provider.name in without or guarded.breaker.retry_in_s() > 0:
                continue
            wait_s = guarded.pace.wait_s
            if wait_s <= OVERFLOW_AFTER_S:
                return guarded
            if best is None or wait_s < best[0]:
                best = (wait_s, guarded)
        return best[1] if best else None

    @property
    def timeout_s(self) -> float:
        """Returns the longest timeout of all providers, seconds."""
        return max(guarded.provider.timeout_s for guarded in self._guarded)

    @property
    def is_open(self) -> bool:
        """Tells whether no provider admits all calls: at most probes are admitted."""
        return all(guarded.breaker.is_open for guarded in self._guarded)

    def retry_in_s(self) -> float:
        """Returns the seconds until at least one provider may admit a call; 0 if one may now."""
        return min(guarded.breaker.retry_in_s() for guarded in self._guarded)

    def states(self) -> dict[str, State]:
        """Returns each provider's breaker state, in order of preference."""
        return {guarded.provider.name: guarded.breaker.state for guarded in self._guarded}

    def forced(self) -> dict[str, str]:
        """Returns provider -> open|closed for the providers whose breaker is forced."""
        return {guarded.provider.name: how for guarded in self._guarded if (how := guarded.breaker.forced) is not None}

    @property
    def worst_state(self) -> State:
        return max(self.states().values(), key=SEVERITY.__getitem__)

    def breaker(self, provider: str) -> Breaker:
        """Returns the breaker of the provider with this name. Raises KeyError."""
        for guarded in self._guarded:
            if guarded.provider.name == provider:
                return guarded.breaker
        raise KeyError(provider)

    async def open(self) -> None:
        """Opens every provider. Raises BadSettings."""
        for guarded in self._guarded:
            await guarded.provider.open()

    async def close(self) -> None:
        for guarded in self._guarded:
            await guarded.provider.close()
