"""JSON Schema for rules between the fields of a model, so that a model can publish what its validators check.

Null counts as absent, as it does for the validators.
"""

from __future__ import annotations

from pydantic import JsonValue

Schema = dict[str, JsonValue]


def given(field: str) -> Schema:
    """``field`` is there and is not null."""
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}


def without(field: str) -> Schema:
    """``field`` is absent or null."""
    return {"properties": {field: {"type": "null"}}}


def exactly_one(one: str, other: str) -> Schema:
    """One of the two fields is given, and not both."""
    return {"oneOf": [{"allOf": [given(one), without(other)]}, {"allOf": [given(other), without(one)]}]}
