"""Tests what /health reports from what each part knows."""

from collections.abc import Sequence

import pytest

from gateway.health.report import BrokerState, ChannelHealth, Health, HealthAnswer
from gateway.health.workers import RedisReader, RedisView, WorkerView
from shared.broker.queue_depth import Sampler
from shared.errors import RedisUnavailable
from shared.message.channels import CHANNELS, Lane
from tests.support.fakes.gateway_client import FakeProbe

FINE = WorkerView(paused=False, breakers={"one": "closed"})


class Redis(RedisReader):
    def __init__(self, memory_share: float = 0.0, **workers: Sequence[WorkerView]) -> None:
        self.view: RedisView | None = RedisView({name: [FINE] for name in CHANNELS} | dict(workers), memory_share)

    def read(self) -> RedisView:
        if self.view is None:
            raise RedisUnavailable("unavailable")
        return self.view


class Depths(Sampler):
    def __init__(self, depths: dict[Lane, int | None] | None = None) -> None:
        super().__init__()
        self._known = depths or {}

    def ready(self, lane: Lane) -> int | None:
        return self._known.get(lane, 2)


def report(
    redis: Redis | None = None,
    broker: BrokerState = "up",
    silent: bool = False,
    depths: Depths | None = None,
    store_up: bool = True,
) -> HealthAnswer:
    probe = FakeProbe()
    probe.up = store_up
    return Health(lambda: broker, lambda: silent, depths or Depths(), redis or Redis(), probe).report()


def test_all_well_is_healthy() -> None:
    answer = report()
    assert answer.status == "healthy"
    assert answer.channels["push"] == ChannelHealth(
        queue="push.queue", ready=6, consumers=1, paused=False, breaker_state="closed", providers={"one": "closed"}
    )


def test_only_a_broker_that_is_down_is_unhealthy() -> None:
    assert report(broker="down").status == "unhealthy"
    assert report(broker="blocked").status == "degraded"


def test_a_store_that_does_not_answer_is_degraded_and_not_unhealthy() -> None:
    answer = report(store_up=False)
    assert (answer.status, answer.store) == ("degraded", "down")
    assert report().store == "up"


def test_a_broker_that_confirms_nothing_counts_as_blocked() -> None:
    answer = report(silent=True)
    assert (answer.status, answer.broker) == ("degraded", "blocked")
    assert report(broker="down", silent=True).broker == "down"


@pytest.mark.parametrize(
    "redis",
    [
        Redis(push=[]),
        Redis(push=[WorkerView(paused=True, breakers={})]),
        Redis(sms=[FINE, WorkerView(paused=False, breakers={"one": "half_open"})]),
        Redis(email=[FINE, WorkerView(paused=False, breakers={}, forwards=2, oldest_forward_s=5.0)]),
        Redis(memory_share=0.8),
    ],
)
def test_a_channel_or_redis_that_needs_attention_is_degraded(redis: Redis) -> None:
    assert report(redis).status == "degraded"


def test_redis_down_is_degraded_and_reported() -> None:
    redis = Redis()
    redis.view = None
    answer = report(redis)
    assert (answer.status, answer.redis) == ("degraded", "down")
    assert answer.channels["push"].consumers == 0


def test_the_worst_breaker_over_all_workers_is_the_channels() -> None:
    workers = [
        WorkerView(paused=False, breakers={"smtp": "open", "smtp2": "closed"}),
        WorkerView(paused=False, breakers={"smtp": "closed", "smtp2": "half_open"}),
    ]
    channel = report(Redis(email=workers)).channels["email"]
    assert channel.breaker_state == "open"
    assert channel.providers == {"smtp": "open", "smtp2": "half_open"}
    assert channel.consumers == 2


def test_a_depth_that_is_not_known_is_not_taken_for_none_waiting() -> None:
    answer = report(depths=Depths({Lane("push", "low"): None}))
    assert answer.channels["push"].ready is None
    assert answer.channels["email"].ready == 6


def test_the_forwards_of_a_channels_workers_are_added_and_the_oldest_is_shown() -> None:
    workers = [WorkerView(False, {}, forwards=2, oldest_forward_s=1.0), WorkerView(False, {}, 3, 4.9)]
    answer = report(Redis(push=workers))
    channel = answer.channels["push"]
    assert (answer.status, channel.forwards, channel.oldest_forward_s) == ("healthy", 5, 4.9)
