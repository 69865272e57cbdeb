"""Reads from Redis what ``/health`` needs: the workers' heartbeats and how full the memory is. It writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from redis import Redis

from shared.health.registry import read_workers
from shared.message.channels import CHANNELS
from shared.redis.client import RedisFacts, store_errors

BreakerState = Literal["closed", "half_open", "open"]
_BREAKER_STATES = frozenset(get_args(BreakerState))


@dataclass(frozen=True, slots=True)
class WorkerView:
    """Holds what a living worker process reports. ``breakers`` maps each provider to the state of its breaker."""

    paused: bool
    breakers: Mapping[str, BreakerState]


@dataclass(frozen=True, slots=True)
class RedisView:
    """Holds what was read from Redis: the living workers of each channel, and how full Redis is (0 to 1; 0 without a
    limit).
    """

    workers: Mapping[str, Sequence[WorkerView]]
    memory_share: float


class RedisReader:
    """Reads what the workers wrote.

    ``heartbeat_s`` is their interval in seconds: a worker that has missed three heartbeats is left out.
    """

    def __init__(self, redis: Redis, heartbeat_s: float) -> None:
        self._redis = redis
        self._heartbeat_s = heartbeat_s

    def read(self) -> RedisView:
        """Reads the present state. Raises RedisUnavailable."""
        workers = read_workers(self._redis, CHANNELS, self._heartbeat_s)
        with store_errors():
            facts = RedisFacts.read(self._redis.info("persistence", "memory"))
        views = {channel: [_view(state) for state in found.values()] for channel, found in workers.items()}
        return RedisView(views, facts.memory_share)


def _view(state: Mapping[str, Any]) -> WorkerView:
    """Reads a heartbeat; leaves out a breaker state that this version does not know."""
    providers = state.get("providers")
    breakers = providers if isinstance(providers, dict) else {}
    return WorkerView(
        paused=state.get("paused") is True,
        breakers={name: breaker for name, breaker in breakers.items() if str(breaker) in _BREAKER_STATES},
    )
