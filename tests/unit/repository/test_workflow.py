"""Tests that the workflows run for every change, and every night, the same commands as a developer."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.harness.prove import parse, planned

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS: dict[str, dict[Any, Any]] = {
    file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / ".github" / "workflows").glob("*.yml")
}


def commands(job: dict[str, Any]) -> list[list[str]]:
    return [step["run"].split() for step in job["steps"] if "run" in step]


def test_every_fault_is_proved_every_night_and_the_soak_with_it() -> None:
    # PyYAML reads the key "on" as a boolean.
    assert WORKFLOWS["nightly"][True]["schedule"]
    proved = commands(WORKFLOWS["nightly"]["jobs"]["prove"])
    assert [command[:2] for command in proved] == [["./notify", "prove"]] * 2
    whole, soak = (parse([word for word in command[2:] if "$" not in word and word != "--seed"]) for command in proved)
    assert planned(whole, 1).whole
    assert soak.scenario == ["soak"]


def test_every_night_the_tests_run_on_days_long_before_and_after() -> None:
    job = WORKFLOWS["nightly"]["jobs"]["another-day"]
    assert commands(job) == [["./notify", "test", "--days", "${{", "matrix.days", "}}"]]
    assert job["strategy"]["matrix"]["days"] == [400, -400]


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS.keys())
def test_a_workflow_may_only_read_its_actions_are_pinned_and_every_job_has_a_timeout(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())
