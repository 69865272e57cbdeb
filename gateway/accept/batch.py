"""Reads a batch: up to 1 000 notifications in one request, each with a verdict of its own."""

from __future__ import annotations

from typing import Any

from gateway.http.problem import Problem
from gateway.http.strict_json import MAX_DEPTH

MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_BATCH_ITEMS = 1_000
#: The array around the items is a level of its own.
MAX_BATCH_DEPTH = MAX_DEPTH + 1
_MAX_ECHOED_CHARS = 128


def batch_items(document: Any) -> list[Any]:
    """Returns the documents of the batch, unchecked. Raises Problem 422 if ``document`` is not a batch."""
    if not isinstance(document, list):
        raise Problem(422, "a batch is a JSON array of notifications")
    if not 1 <= len(document) <= MAX_BATCH_ITEMS:
        raise Problem(422, f"a batch holds 1 to {MAX_BATCH_ITEMS} notifications; this one has {len(document)}")
    return document


def echoed_id(item: Any) -> str | None:
    """Returns a refused item's request_id as its caller wrote it, or None if it is missing or too long to repeat."""
    value = item.get("request_id") if isinstance(item, dict) else None
    return value if isinstance(value, str) and len(value) <= _MAX_ECHOED_CHARS else None
