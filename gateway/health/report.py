"""Builds the answer to ``GET /health`` from what each part knows about itself. It sends nothing to the broker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from gateway.health.store import StoreProbe
from gateway.health.workers import BreakerState, RedisReader, RedisView, WorkerView
from gateway.http.answers import AnswerModel
from shared.broker.queue_depth import Sampler
from shared.errors import RedisUnavailable
from shared.health.registry import SLOW_FORWARD_S
from shared.message.channels import CHANNELS, lanes_of

BrokerState = Literal["up", "down", "blocked"]
Status = Literal["healthy", "degraded", "unhealthy"]

#: The system counts as degraded when Redis uses at least this share of its maxmemory.
MEMORY_DEGRADED = 0.8
_WORST_FIRST: tuple[BreakerState, ...] = ("open", "half_open", "closed")


class ChannelHealth(AnswerModel):
    """Reports on a channel, over all its lanes and workers."""

    queue: str
    ready: Annotated[int | None, Field(description="messages that wait in the three lanes; null while unknown")]
    consumers: Annotated[int, Field(description="worker processes whose heartbeat is recent")]
    paused: bool
    breaker_state: Annotated[BreakerState, Field(description="the worst state among its providers")]
    providers: dict[str, BreakerState]
    forwards: Annotated[
        int, Field(description="messages that workers publish to the ladder or to failed.queue now")
    ] = 0
    oldest_forward_s: Annotated[
        float, Field(description="for how long the oldest of them has not been confirmed; degraded from 5 s on")
    ] = 0.0


class HealthAnswer(AnswerModel):
    """Reports the health of the system. `unhealthy`: the broker is down. `degraded`: the broker confirms nothing, or
    Redis, the store of the inboxes, a channel or a provider needs attention.
    """

    status: Status
    broker: BrokerState
    redis: Literal["up", "down"]
    store: Annotated[Literal["up", "down"], Field(description="the database of the inboxes")]
    channels: dict[str, ChannelHealth]


class Health:
    """Builds the health report.

    ``broker_state`` returns up, down or blocked; ``silent`` tells whether the broker has stopped confirming.
    """

    def __init__(
        self,
        broker_state: Callable[[], BrokerState],
        silent: Callable[[], bool],
        depths: Sampler,
        redis: RedisReader,
        store: StoreProbe,
    ) -> None:
        self._broker_state, self._silent, self._depths, self._redis = broker_state, silent, depths, redis
        self._store = store

    @property
    def broker(self) -> BrokerState:
        """Returns the broker's state. A connection that is up but confirms nothing in time counts as blocked."""
        state = self._broker_state()
        return "blocked" if state == "up" and self._silent() else state

    def report(self) -> HealthAnswer:
        """Returns the answer. A channel's ``ready`` is null while the depth of one of its lanes is unknown."""
        try:
            view: RedisView | None = self._redis.read()
        except RedisUnavailable:
            view = None
        workers = view.workers if view else {}
        channels = {name: self._channel(name, workers.get(name, ())) for name in CHANNELS}
        redis_degraded = view is None or view.memory_share >= MEMORY_DEGRADED
        store_up = self._store.is_up()
        return HealthAnswer(
            status=_status(self.broker, redis_degraded or not store_up, channels.values()),
            broker=self.broker,
            redis="down" if view is None else "up",
            store="up" if store_up else "down",
            channels=channels,
        )

    def _channel(self, name: str, workers: Sequence[WorkerView]) -> ChannelHealth:
        depths = [self._depths.ready(lane) for lane in lanes_of(name)]
        providers: dict[str, BreakerState] = {}
        for worker in workers:
            for provider, state in worker.breakers.items():
                providers[provider] = _worst([state, providers.get(provider, "closed")])
        return ChannelHealth(
            queue=lanes_of(name)[1].queue,
            ready=None if None in depths else sum(depth for depth in depths if depth is not None),
            consumers=len(workers),
            paused=any(worker.paused for worker in workers),
            breaker_state=_worst(providers.values()),
            providers=providers,
            forwards=sum(worker.forwards for worker in workers),
            oldest_forward_s=max((worker.oldest_forward_s for worker in workers), default=0.0),
        )


def _worst(states: Iterable[BreakerState]) -> BreakerState:
    return min(states, key=_WORST_FIRST.index, default="closed")


def _status(broker: BrokerState, degraded: bool, channels: Iterable[ChannelHealth]) -> Status:
    if broker == "down":
        return "unhealthy"
    troubled = broker == "blocked" or degraded or any(map(_is_troubled, channels))
    return "degraded" if troubled else "healthy"


def _is_troubled(channel: ChannelHealth) -> bool:
    flows = channel.consumers > 0 and not channel.paused and channel.oldest_forward_s < SLOW_FORWARD_S
    return not flows or channel.breaker_state != "closed"
