"""What /health says, from what each part knows."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.health.report import BrokerState, Health, StoreView, WorkerView
from shared.broker.queue_depth import Sampler
from shared.errors import StoreUnavailable
from shared.message.channels import CHANNELS, Lane

FINE = WorkerView(paused=False, breakers={"one": "closed"})


class Store:
    def __init__(self, memory_share: float = 0.0, **workers: Sequence[WorkerView]) -> None:
        self.view: StoreView | None = StoreView({name: [FINE] for name in CHANNELS} | dict(workers), memory_share)

    def read(self) -> StoreView:
        if self.view is None:
            raise StoreUnavailable("away")
        return self.view


class Depths(Sampler):
    def __init__(self, depths: dict[Lane, int | None] | None = None) -> None:
        self._depths = depths or {}

    def ready(self, lane: Lane) -> int | None:
        return self._depths.get(lane, 2)


def report(
    store: Store | None = None, broker: BrokerState = "up", silent: bool = False, depths: Depths | None = None
) -> dict[str, Any]:
    return Health(lambda: broker, lambda: silent, depths or Depths(), store or Store()).report()


def test_all_well_is_healthy() -> None:
    document = report()
    assert document["status"] == "healthy"
    assert document["channels"]["push"] == {
        "queue": "push.queue",
        "ready": 6,
        "consumers": 1,
        "paused": False,
        "breaker_state": "closed",
        "providers": {"one": "closed"},
    }


def test_only_a_broker_that_is_down_is_unhealthy() -> None:
    assert report(broker="down")["status"] == "unhealthy"
    assert report(broker="blocked")["status"] == "degraded"


def test_a_broker_that_confirms_nothing_counts_as_blocked() -> None:
    document = report(silent=True)
    assert (document["status"], document["broker"]) == ("degraded", "blocked")
    assert report(broker="down", silent=True)["broker"] == "down"


@pytest.mark.parametrize(
    "store",
    [
        Store(push=[]),
        Store(push=[WorkerView(paused=True, breakers={})]),
        Store(sms=[FINE, WorkerView(paused=False, breakers={"one": "half_open"})]),
        Store(memory_share=0.8),
    ],
)
def test_what_needs_somebody_is_degraded(store: Store) -> None:
    assert report(store)["status"] == "degraded"


def test_redis_down_is_degraded_and_said() -> None:
    store = Store()
    store.view = None
    document = report(store)
    assert (document["status"], document["redis"]) == ("degraded", "down")
    assert document["channels"]["push"]["consumers"] == 0


def test_the_worst_breaker_over_all_workers_is_the_channels() -> None:
    workers = [
        WorkerView(paused=False, breakers={"smtp": "open", "smtp2": "closed"}),
        WorkerView(paused=False, breakers={"smtp": "closed", "smtp2": "half_open"}),
    ]
    channel = report(Store(email=workers))["channels"]["email"]
    assert channel["breaker_state"] == "open"
    assert channel["providers"] == {"smtp": "open", "smtp2": "half_open"}
    assert channel["consumers"] == 2


def test_a_depth_that_is_not_known_is_not_taken_for_none_waiting() -> None:
    document = report(depths=Depths({Lane("push", "low"): None}))
    assert document["channels"]["push"]["ready"] is None
    assert document["channels"]["email"]["ready"] == 6
