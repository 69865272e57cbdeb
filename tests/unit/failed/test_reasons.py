"""The reasons are closed lists: those published here, those of the code and those in use are the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from shared.message.outcome import DeadReason, RetryReason, SkippedReason

ROOT = Path(__file__).parents[3]

# Operators select by them, dashboards are built on them: a new one changes what they can rely on.
DEAD = {
    *("invalid_json", "invalid_envelope", "too_large", "wrong_channel", "request_id_reused", "expired"),
    *("user_not_found", "no_recipient", "template_not_found", "template_error", "recipient_invalid"),
    *("payload_rejected", "attempts_exhausted", "delivery_limit"),
}
SKIPPED = {"opted_out"}
RETRY = {
    *("provider_unavailable", "throttled", "misconfigured", "directory_unavailable", "templates_unavailable"),
    *("claimed_elsewhere", "unexpected"),
}
#: what is built with a reason, first -> the reasons that it may have
BUILT_WITH = {
    "Dead": DEAD,
    "InvalidEnvelope": DEAD,
    "Skipped": SKIPPED,
    "Failure": RETRY,
}


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for package in ("gateway", "services", "shared"):
        for path in (ROOT / package).rglob("*.py"):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def _texts(node: ast.AST) -> set[str]:
    """All texts in it that may be a reason; a cast names its type with a capital."""
    constants = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
    return {value for value in constants if isinstance(value, str) and value.islower()}


def test_the_lists_are_those_published() -> None:
    assert set(get_args(DeadReason)) == DEAD
    assert set(get_args(SkippedReason)) == SKIPPED
    assert set(get_args(RetryReason)) == RETRY


def test_every_reason_in_use_is_on_its_list() -> None:
    for path, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILT_WITH:
                unknown = _texts(node.args[0]) - BUILT_WITH[node.func.id] if node.args else set()
                assert not unknown, f"{path}:{node.lineno}"


def test_every_reason_on_a_list_is_in_use() -> None:
    used = set().union(*(_texts(tree) for path, tree in _trees() if path != "shared/message/outcome.py"))
    assert (DEAD | SKIPPED | RETRY) - used == set()
