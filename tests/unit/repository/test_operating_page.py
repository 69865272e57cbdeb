"""Tests that docs/operating.md explains every line that the inboxes and their nodes write into the log."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import get_args

from tests.support.document import ROOT, constant

PAGE = (ROOT / "docs" / "operating.md").read_text()
SOURCES = [
    *sorted((ROOT / "services" / "websocket").rglob("*.py")),
    *sorted((ROOT / "shared" / "realtime").rglob("*.py")),
    *sorted((ROOT / "shared" / "store").rglob("*.py")),
    *sorted((ROOT / "gateway" / "inbox").glob("*.py")),
    ROOT / "shared" / "redis" / "subscriber.py",
]
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
#: The line of shared.logs.log_death, which nodes use for their background tasks.
OF_TASKS = "task_died"


def test_every_log_line_of_the_nodes_is_explained_and_every_one_explained_is_written() -> None:
    table = PAGE.split("| in the log | what it means, and what to do |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted({*_logged(), OF_TASKS})


def test_every_reason_of_a_pull_is_explained() -> None:
    (row,) = re.findall(r"^\| `notify_pulls_total\{why\}` \| (.*?) \|$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(get_args(constant("services.websocket", "Why")))


def _logged() -> Iterator[str]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
            ):
                (event, *_) = node.args
                assert isinstance(event, ast.Constant), ast.unparse(node)
                assert isinstance(event.value, str)
                yield event.value
