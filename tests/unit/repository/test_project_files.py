"""Tests that every place has the same version."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from gateway.api.resources import RESOURCES
from gateway.openapi import openapi_document
from ops.cli import command
from shared import version

ROOT = Path(__file__).parents[3]


def test_the_version_is_read_from_the_one_file() -> None:
    assert version() == (ROOT / "VERSION").read_text().strip()
    assert openapi_document(RESOURCES)["info"]["version"] == version()
    assert CliRunner().invoke(command, ["--version"]).output == f"notify {version()}\n"


def test_the_newest_release_in_the_changelog_is_the_version() -> None:
    releases = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(release for release in releases if release != "Unreleased") == version()
