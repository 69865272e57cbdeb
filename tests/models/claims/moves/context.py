"""Holds what every move needs to know."""

from __future__ import annotations

from dataclasses import dataclass

from tests.models.claims.rules import Rules
from tests.models.claims.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Context:
    rules: Rules
    scenario: Scenario
