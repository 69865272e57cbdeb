"""What runs for every change is what a developer runs."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
WORKFLOW = yaml.safe_load(TEXT)
[JOB] = WORKFLOW["jobs"].values()


def test_it_runs_the_one_script_on_the_oldest_python_and_the_image_s() -> None:
    assert [step["run"] for step in JOB["steps"] if "run" in step] == [".ci/run"]
    [image] = re.findall(r"^ARG PYTHON_IMAGE=python:(3\.\d+)-slim$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert JOB["strategy"]["matrix"]["python"] == ["3.11", image]


def test_actions_are_pinned_and_may_only_read() -> None:
    uses = [step["uses"] for step in JOB["steps"] if "uses" in step]
    assert uses
    assert [action for action in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_it_cannot_run_for_ever() -> None:
    assert JOB["timeout-minutes"] <= 30
