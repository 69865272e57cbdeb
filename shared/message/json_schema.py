"""Builds JSON Schema for rules between the fields of a model, so that a model can publish what its validators check.

Null counts as absent, as it does for the validators.
"""

from __future__ import annotations

from pydantic import JsonValue

Schema = dict[str, JsonValue]


def given(field: str) -> Schema:
    """Returns the schema: ``field`` is present and is not null."""
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}


def without(field: str) -> Schema:
    """Returns the schema: ``field`` is absent or null."""
    return {"properties": {field: {"type": "null"}}}


def exactly_one(one: str, other: str) -> Schema:
    """Returns the schema: exactly one of the two fields is given."""
    return {"oneOf": [{"allOf": [given(one), without(other)]}, {"allOf": [given(other), without(one)]}]}
