"""One version for everything that names one, and files for tools and contributors that agree with the commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gateway.api.resources import RESOURCES
from gateway.openapi import openapi_document
from ops.cli import command
from ops.develop.check import CHECKS
from shared import version

ROOT = Path(__file__).parents[3]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def test_the_version_is_read_from_the_one_file() -> None:
    assert version() == (ROOT / "VERSION").read_text().strip()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"file": "VERSION"}
    assert openapi_document(RESOURCES)["info"]["version"] == version()
    assert CliRunner().invoke(command, ["--version"]).output == f"notify {version()}\n"


def test_the_image_has_the_version_file() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert any("VERSION" in line.split() for line in lines if line.startswith("COPY "))


def test_the_newest_release_in_the_changelog_is_the_version() -> None:
    releases = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(release for release in releases if release != "Unreleased") == version()


def test_the_commit_hooks_are_the_checks() -> None:
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == [f"./notify check {name}" for name in CHECKS]


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_github_asks_for(form: Path) -> None:
    """GitHub hides a form that is not valid, without a word."""
    fields = yaml.safe_load(form.read_text())
    assert fields["name"] and fields["description"]
    assert all(element["attributes"].get("label") for element in fields["body"] if element["type"] != "markdown")
    ids = [element["id"] for element in fields["body"] if element["type"] != "markdown"]
    assert len(ids) == len(set(ids))
