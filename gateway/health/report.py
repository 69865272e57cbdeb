"""What ``GET /health`` says, from what each part knows of itself. No question is put to the broker for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.broker.queue_depth import Sampler
from shared.errors import StoreUnavailable
from shared.message.channels import CHANNELS, lanes_of

BrokerState = Literal["up", "down", "blocked"]

#: Redis is degraded from this share of its maxmemory on
MEMORY_DEGRADED = 0.8
_WORST_FIRST = ("open", "half_open", "closed")


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One living worker process, by its own heartbeat. ``breakers``: provider -> closed | half_open | open."""

    paused: bool
    breakers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoreView:
    """What Redis holds: the living workers of each channel, and how full it is (0 without a limit)."""

    workers: Mapping[str, Sequence[WorkerView]]
    memory_share: float


class Store(Protocol):
    """What is needed of ``RedisStore``."""

    def read(self) -> StoreView:
        """Raises StoreUnavailable."""


class Health:
    """``broker_state`` says up, down or blocked; ``silent`` whether publishing has stopped answering."""

    def __init__(
        self, broker_state: Callable[[], BrokerState], silent: Callable[[], bool], depths: Sampler, store: Store
    ) -> None:
        self._broker_state, self._silent, self._depths, self._store = broker_state, silent, depths, store

    @property
    def broker(self) -> BrokerState:
        """A connection that is up, over which nothing is confirmed in time, counts as blocked."""
        state = self._broker_state()
        return "blocked" if state == "up" and self._silent() else state

    def report(self) -> dict[str, Any]:
        """The document. ``ready`` is null while a lane's depth is not known."""
        try:
            view: StoreView | None = self._store.read()
        except StoreUnavailable:
            view = None
        workers = view.workers if view else {}
        channels = {name: self._channel(name, workers.get(name, ())) for name in CHANNELS}
        redis_full = view is None or view.memory_share >= MEMORY_DEGRADED
        return {
            "status": _status(self.broker, redis_full, channels),
            "broker": self.broker,
            "redis": "down" if view is None else "up",
            "channels": channels,
        }

    def _channel(self, name: str, workers: Sequence[WorkerView]) -> dict[str, Any]:
        depths = [self._depths.ready(lane) for lane in lanes_of(name)]
        providers: dict[str, str] = {}
        for worker in workers:
            for provider, state in worker.breakers.items():
                providers[provider] = _worst([state, providers.get(provider, "closed")])
        return {
            "queue": lanes_of(name)[1].queue,
            "ready": None if None in depths else sum(depth for depth in depths if depth is not None),
            "consumers": len(workers),
            "paused": any(worker.paused for worker in workers),
            "breaker_state": _worst(providers.values()),
            "providers": providers,
        }


def _worst(states: Any) -> str:
    return min(states, key=_WORST_FIRST.index, default="closed")


def _status(broker: BrokerState, store_in_need: bool, channels: Mapping[str, Mapping[str, Any]]) -> str:
    if broker == "down":
        return "unhealthy"
    troubled = any(
        channel["consumers"] == 0 or channel["paused"] or channel["breaker_state"] != "closed"
        for channel in channels.values()
    )
    return "degraded" if broker == "blocked" or store_in_need or troubled else "healthy"
