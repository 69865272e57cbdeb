"""Runs the quick scenarios as part of every test run; ``./notify prove`` runs all of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.harness.prove import show
from tests.faults.harness.scenario import Scenario, load_scenarios
from tests.faults.harness.stage import Stage, staged
from tests.faults.harness.trial import run

QUICK = [scenario for scenario in load_scenarios().values() if scenario.quick]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(run_directory: Path) -> AsyncIterator[Stage]:
    """Starts servers that only these tests use, so that killing them affects no other test."""
    async with staged(run_directory / "faults") as made:
        yield made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scenario", QUICK, ids=lambda scenario: scenario.name)
async def test_every_promise_is_kept(stage: Stage, scenario: Scenario) -> None:
    result = await run(stage, scenario, random.randrange(10**6))
    show(result)
    assert not result.broken, f"./notify prove {scenario.name} --seed {result.seed}"
