"""Tests what a worker reports about itself to an orchestrator and to an operator."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from shared.worker.status import Status

WORKER = ("broker_up", "paused", "broken_lanes", "in_flight", "forwards")


@dataclass
class Forwarding:
    """Replaces the forwards under way."""

    count: int
    oldest_s: float

    def __len__(self) -> int:
        return self.count


def status(**changes: Any) -> Status:
    seen = {
        "broker_up": True,
        "paused": False,
        "broken_lanes": [],
        "in_flight": 0,
        "publisher": "up",
        "breaker": "closed",
        "forwards": Forwarding(0, 0.0),
    }
    seen |= changes
    worker: Any = SimpleNamespace(**{name: seen[name] for name in WORKER})
    providers: Any = SimpleNamespace(worst_state=seen["breaker"], states=lambda: {"fcm": seen["breaker"]})
    publisher: Any = SimpleNamespace(state=seen["publisher"])
    return Status("push", worker, providers, publisher)


def test_all_is_well() -> None:
    health = status().health()
    assert health["status"] == "healthy"
    assert health["broken_lanes"] == []
    assert (health["forwards"], health["oldest_forward_s"]) == (0, 0.0)


@pytest.mark.parametrize("change", [{"broker_up": False}, {"publisher": "down"}])
def test_without_the_broker_it_is_unhealthy(change: dict[str, Any]) -> None:
    assert status(**change).health()["status"] == "unhealthy"


@pytest.mark.parametrize(
    "change",
    [{"paused": True}, {"breaker": "open"}, {"publisher": "blocked"}, {"broken_lanes": ["push.low.queue"]}],
)
def test_a_worker_that_keeps_messages_waiting_is_degraded(change: dict[str, Any]) -> None:
    health = status(**change).health()
    assert health["status"] == "degraded"
    assert health["broken_lanes"] == change.get("broken_lanes", [])


@pytest.mark.parametrize(("oldest_s", "expected"), [(4.9, "healthy"), (5.0, "degraded"), (3600.04, "degraded")])
def test_a_forward_that_takes_long_is_named(oldest_s: float, expected: str) -> None:
    seen = status(forwards=Forwarding(3, oldest_s))
    assert seen.health()["status"] == expected
    for document in (seen.health(), seen.state()):
        assert (document["forwards"], document["oldest_forward_s"]) == (3, round(oldest_s, 1))
