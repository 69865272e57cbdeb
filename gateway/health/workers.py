"""What the gateway reads in Redis for ``/health``: the workers' signs of life and how full the memory is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis import Redis

from gateway.health.report import StoreView, WorkerView
from shared.health.registry import read_workers
from shared.message.channels import CHANNELS
from shared.redis.client import RedisFacts, store_errors

_BREAKER_STATES = frozenset({"closed", "half_open", "open"})


class RedisStore:
    """``heartbeat_s``: how often workers mean to beat."""

    def __init__(self, redis: Redis, heartbeat_s: float) -> None:
        self._redis = redis
        self._heartbeat_s = heartbeat_s

    def read(self) -> StoreView:
        """Raises StoreUnavailable."""
        workers = read_workers(self._redis, CHANNELS, self._heartbeat_s)
        with store_errors():
            facts = RedisFacts.read(self._redis.info("persistence", "memory"))
        views = {channel: [_view(state) for state in found.values()] for channel, found in workers.items()}
        return StoreView(views, facts.memory_share)


def _view(state: Mapping[str, Any]) -> WorkerView:
    """As the worker's own ``/health`` says it; a state that this version does not know is left out."""
    providers = state.get("providers")
    breakers = providers if isinstance(providers, dict) else {}
    return WorkerView(
        paused=state.get("paused") is True,
        breakers={name: breaker for name, breaker in breakers.items() if str(breaker) in _BREAKER_STATES},
    )
