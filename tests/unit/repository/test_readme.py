"""Tests that everything the documents name exists (links, commands, settings, metrics, reasons), and that the first
request works.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import orjson
import pytest

from gateway.health.counts import AcceptedCounts
from ops.cli import COMMANDS
from services.websocket.socket_metrics import SocketMetrics
from shared.failed.entry import REASONS
from shared.message.envelope import validate_envelope
from shared.message.outcome import RetryReason, SkippedReason
from shared.metrics import Metrics

ROOT = Path(__file__).parents[3]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def text_of(document: Path) -> str:
    return document.read_text()


def named(pattern: str) -> set[str]:
    return {found for document in DOCUMENTS for found in re.findall(pattern, text_of(document))}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(document)):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_the_commands_named_exist() -> None:
    assert named(r"\./notify ([a-z]+)") <= COMMANDS.keys()


def test_the_settings_named_exist() -> None:
    known = set(re.findall(r"^#([A-Z_]+)=", text_of(ROOT / ".env.example"), re.MULTILINE)) | {
        "NOTIFY_TEST_PORTS",
        "SSL_CERT_FILE",
    }
    shapes = re.compile(r"`((?:[A-Z]+_)+[A-Z]+)(?:=[^`]*)?`")
    found = {name for document in DOCUMENTS for name in shapes.findall(text_of(document))}
    assert found - known == set()


def test_every_metric_is_described_and_every_one_described_exists() -> None:
    metrics = Metrics()
    SocketMetrics(metrics.registry)
    suffixed = {f"{m.name}_total" if m.type == "counter" else m.name for m in metrics.registry.collect()}
    gateway = re.findall(r"^# TYPE (notify_\w+) counter$", AcceptedCounts().render().decode(), re.MULTILINE)
    described = set(
        re.findall(r"`((?:notify|active|pending)_[a-z_]+)(?:\{[a-z,]+\})?`", text_of(ROOT / "docs" / "operating.md"))
    )
    assert described == suffixed | set(gateway)


def test_every_reason_is_described() -> None:
    described = set(re.findall(r"`([a-z_]+)`", text_of(ROOT / "docs" / "operating.md")))
    assert {*REASONS, *get_args(RetryReason), *get_args(SkippedReason)} <= described


def test_the_first_request_is_valid_and_near_the_top() -> None:
    readme = text_of(ROOT / "README.md")
    request = re.search(r"-d '(\{.*?\})'", readme, re.DOTALL)
    assert request
    assert validate_envelope(orjson.loads(request[1]), extra="forbid").targets == ("push",)
    assert readme[: request.start()].count("\n") < 30
