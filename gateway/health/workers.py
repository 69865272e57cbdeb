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
    """Holds what a living worker process reports.

    ``breakers`` maps each provider to the state of its breaker. ``forwards`` is the number of messages that it forwards
    now, ``oldest_forward_s`` for how long it has forwarded the oldest of them, seconds.
    """

    paused: bool
    breakers: Mapping[str, BreakerState]
    forwards: int = 0
    oldest_forward_s: float = 0.0


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
    """Reads a heartbeat; leaves out a breaker state that this version does not know.

    A heartbeat of a version that does not report its forwards counts as one without any.
    """
    providers = state.get("providers")
    breakers = providers if isinstance(providers, dict) else {}
    forwards, oldest_s = state.get("forwards"), state.get("oldest_forward_s")
    return WorkerView(
        paused=state.get("paused") is True,
        breakers={name: breaker for name, breaker in breakers.items() if str(breaker) in _BREAKER_STATES},
        forwards=forwards if isinstance(forwards, int) else 0,
        oldest_forward_s=float(oldest_s) if isinstance(oldest_s, (int, float)) else 0.0,
    )
