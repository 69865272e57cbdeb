"""Defines what a scenario is, and finds all scenarios by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.faults.ledger.bounds import Bounds

if TYPE_CHECKING:
    from tests.faults.harness.trial import Trial

#: deadline of a scenario that names none, seconds
LONGEST_S = 420.0

Body = Callable[["Trial"], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """Describes one fault. ``body`` raises AssertionError for a promise that only this scenario checks."""

    name: str
    family: str
    #: one sentence: what is broken, and what is promised
    says: str
    body: Body
    bounds: Bounds = field(default_factory=Bounds)
    #: True if it is part of ``--quick``
    quick: bool = False
    #: True if it depends on chance: it is run with two seeds before anything is published
    drawn: bool = False
    #: True if it is run only when named
    on_demand: bool = False
    #: a scenario that takes longer hangs, seconds; its own deadlines are shorter
    longest_s: float = LONGEST_S

    def fresh_bounds(self) -> Bounds:
        """Returns a copy of the scenario's bounds, which it may change while it runs."""
        bounds = self.bounds
        return replace(
            bounds, failed=dict(bounds.failed), gateway_down=list(bounds.gateway_down), ends=dict(bounds.ends)
        )


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    bounds: Bounds | None = None,
    *,
    quick: bool = False,
    drawn: bool = False,
    on_demand: bool = False,
    longest_s: float = LONGEST_S,
) -> Callable[[Body], Body]:
    """Registers a function of ``tests/faults/scenarios``; its name (with dashes) and docstring are the scenario's."""

    def register(body: Body) -> Body:
        name = getattr(body, "__name__", "").replace("_", "-")
        if name in SCENARIOS:
            raise ValueError(f"two scenarios are called {name}")
        says = " ".join((body.__doc__ or "").split())
        family = body.__module__.rpartition(".")[2]
        SCENARIOS[name] = Scenario(name, family, says, body, bounds or Bounds(), quick, drawn, on_demand, longest_s)
        return body

    return register


#: the order in which families are run and shown
FAMILIES = (
    "calm",
    "crashes",
    "gateways",
    "forwarding",
    "broker",
    "topology",
    "lanes",
    "reconnections",
    "network",
    "store",
    "nodes",
    "wakeups",
    "database",
    "devices",
    "provider",
    "answers",
    "throttling",
    "failover",
    "sources",
    "poison",
    "identity",
    "operators",
    "cluster",
    "wire",
    "soak",
)


def load_scenarios() -> dict[str, Scenario]:
    """Imports every file of ``tests/faults/scenarios``. Returns all scenarios by name, family by family."""
    from tests.faults import scenarios

    for module in pkgutil.walk_packages(scenarios.__path__, f"{scenarios.__name__}."):
        importlib.import_module(module.name)
    in_order = sorted(SCENARIOS.values(), key=lambda each: FAMILIES.index(each.family))
    return {each.name: each for each in in_order}
