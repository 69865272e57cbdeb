"""Describes the state of a worker, for its health route and, through the heartbeat in Redis, for the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.breaker.breaker import Breaker
from shared.broker.publisher import Publisher
from shared.health.registry import SLOW_FORWARD_S, Forced
from shared.message.channels import lanes_of
from shared.providers.failover import Providers
from shared.worker.worker import Worker


class Status:
    """Reads the current state of the worker, its providers and its publisher.

    ``sources`` holds the breakers in front of the user and template services, by name.
    """

    def __init__(
        self,
        channel: str,
        worker: Worker,
        providers: Providers,
        publisher: Publisher,
        sources: Mapping[str, Breaker] | None = None,
    ) -> None:
        self.channel = channel
        self._worker, self._providers, self._publisher = worker, providers, publisher
        self._sources = sources or {}

    def health(self) -> dict[str, Any]:
        """Returns the document of the health route; ``status`` is ``unhealthy`` without the broker.

        ``status`` is ``degraded`` while the worker is paused, while a breaker is not closed, while a lane does not
        flow (its queue is missing, or has no leader), while the broker accepts no messages (a resource alarm), and
        while a forward takes longer than SLOW_FORWARD_S.
        """
        up = self._worker.broker_up and self._publisher.state != "down"
        flowing = not self._worker.paused and not self._worker.broken_lanes and self._publisher.state == "up"
        forwarding = self._worker.forwards.oldest_s < SLOW_FORWARD_S
        calm = flowing and forwarding and self._providers.worst_state == "closed"
        return {
            "status": "unhealthy" if not up else "healthy" if calm else "degraded",
            "queue": lanes_of(self.channel)[1].queue,
            "lanes": [lane.queue for lane in lanes_of(self.channel)],
            "broken_lanes": self._worker.broken_lanes,
            **self.state(),
        }

    def state(self) -> dict[str, Any]:
        """Returns the fields that the health route and the heartbeat have in common."""
        sources = {"sources": {name: breaker.state for name, breaker in self._sources.items()}}
        return {
            "breaker_state": self._providers.worst_state,
            "providers": self._providers.states(),
            **(sources if self._sources else {}),
            "paused": self._worker.paused,
            "in_flight": self._worker.in_flight,
            "forwards": len(self._worker.forwards),
            "oldest_forward_s": round(self._worker.forwards.oldest_s, 1),
        }

    def beat(self) -> dict[str, Any]:
        """Returns the heartbeat. ``forced`` shows the orders already applied: the operator's command waits for them."""
        sources = {name: how for name, breaker in self._sources.items() if (how := breaker.forced) is not None}
        return {**self.state(), "forced": {**self._providers.forced(), **sources}}

    def apply(self, forced: Mapping[str, Forced]) -> None:
        """Applies the operator's orders: forces the breakers of the named providers, and releases all others."""
        for provider in self._providers.states():
            self._providers.breaker(provider).force(forced.get(provider))
        for source, breaker in self._sources.items():
            breaker.force(forced.get(source))
