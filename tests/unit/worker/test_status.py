"""Tests what a worker reports about itself to an orchestrator and to an operator."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from ops.breaker.survey import Survey
from ops.breaker.survey import _worker as worker_of
from shared.breaker.breaker import Breaker
from shared.health.registry import SOURCES
from shared.message.channels import CHANNELS
from shared.metrics import Metrics
from shared.providers.failover import Providers
from shared.settings.groups.breaker import BreakerPolicy
from shared.settings.load import load_settings
from shared.worker.status import Status
from tests.support.fakes.worker import ScriptedProvider

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


def test_an_operators_order_reaches_the_breakers_of_the_sources() -> None:
    providers = Providers.of("push", [ScriptedProvider()], BreakerPolicy(), Metrics())
    sources = {name: Breaker(name, BreakerPolicy()) for name in SOURCES}
    worker: Any = SimpleNamespace(paused=False, in_flight=0, forwards=Forwarding(0, 0.0))
    publisher: Any = SimpleNamespace(state="up")
    own = Status("push", worker, providers, publisher, sources)
    own.apply({"users": "open", "fcm": "closed"})
    beat = own.beat()
    assert beat["sources"] == {"users": "open", "templates": "closed"}
    assert beat["forced"] == {"users": "open", "fcm": "closed"}
    own.apply({})
    assert own.beat()["forced"] == {}


def test_the_survey_shows_the_breakers_of_the_sources() -> None:
    beat = {"providers": {"fcm": "closed"}, "sources": {"users": "open"}, "forced": {"users": "open"}}
    workers = {channel: [worker_of("a", beat)] if channel == "push" else [] for channel in CHANNELS}
    found = Survey(workers, {("push", "users"): "open"})
    names = found.names(load_settings(None))
    assert names[:3] == [("push", "fcm"), ("push", "users"), ("push", "templates")]
    assert ("email", "templates") in names
    assert found.workers["push"][0].breakers == {"fcm": "closed", "users": "open"}
    assert found.disobedient(("push", "users")) == []


@pytest.mark.parametrize(("oldest_s", "expected"), [(4.9, "healthy"), (5.0, "degraded"), (3600.04, "degraded")])
def test_a_forward_that_takes_long_is_named(oldest_s: float, expected: str) -> None:
    seen = status(forwards=Forwarding(3, oldest_s))
    assert seen.health()["status"] == expected
    for document in (seen.health(), seen.state()):
        assert (document["forwards"], document["oldest_forward_s"]) == (3, round(oldest_s, 1))
