"""What runs for every change, and every night, is what a developer runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.harness.prove import parse, planned

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW, NIGHTLY = (
    yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text()) for name in ("ci.yml", "nightly.yml")
)
[JOB] = WORKFLOW["jobs"].values()
[NIGHT_JOB] = NIGHTLY["jobs"].values()


def test_it_runs_the_one_script_on_the_oldest_python_and_the_image_s() -> None:
    assert [step["run"] for step in JOB["steps"] if "run" in step] == [".ci/run"]
    [image] = re.findall(r"^ARG PYTHON_IMAGE=python:(3\.\d+)-slim$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert JOB["strategy"]["matrix"]["python"] == ["3.11", image]


def test_every_fault_is_proved_every_night_and_the_soak_with_it() -> None:
    # PyYAML reads the key "on" as a boolean.
    assert NIGHTLY[True]["schedule"]
    commands = [step["run"].split() for step in NIGHT_JOB["steps"] if "run" in step]
    assert [command[:2] for command in commands] == [["./notify", "prove"]] * 2
    whole, soak = (
        parse([word for word in command[2:] if "$" not in word and word != "--seed"]) for command in commands
    )
    assert planned(whole, 1).whole
    assert soak.scenario == ["soak"]


@pytest.mark.parametrize(("workflow", "job"), [(WORKFLOW, JOB), (NIGHTLY, NIGHT_JOB)], ids=["ci", "nightly"])
def test_actions_are_pinned_and_may_only_read(workflow: dict[str, Any], job: dict[str, Any]) -> None:
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert uses
    assert [action for action in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []
    assert workflow["permissions"] == {"contents": "read"}


def test_neither_can_run_for_ever() -> None:
    assert JOB["timeout-minutes"] <= 30
    assert NIGHT_JOB["timeout-minutes"] <= 90
