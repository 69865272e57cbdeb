"""What the models check across fields, said in JSON Schema. What it cannot say stands in the descriptions.

Null counts as absent, as it does to the models.
"""

from __future__ import annotations

from typing import Any

from shared.message.channels import PLANNED_CHANNELS

#: types that send to a channel, beside the one of the channel's own name
_SENDS_TO = {"both": ("websocket", "email")}


def _given(field: str) -> dict[str, Any]:
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}


def _without(field: str) -> dict[str, Any]:
    return {"properties": {field: {"type": "null"}}}


def _exactly_one(one: str, other: str) -> dict[str, Any]:
    return {"oneOf": [{"allOf": [_given(one), _without(other)]}, {"allOf": [_given(other), _without(one)]}]}


ENVELOPE_RULES: list[dict[str, Any]] = [
    _exactly_one("notification_type", "channels"),
    _exactly_one("template_code", "content"),
    {"anyOf": [_given("user_id"), _given("recipient")]},
]

#: an operator must say which messages are meant, all of them included
SELECTION_RULE: list[dict[str, Any]] = [
    *(_given(field) for field in ("ids", "request_id", "channel", "reason", "older_than")),
    {"required": ["all"], "properties": {"all": {"const": True}}},
]


def offer_what_is_delivered(envelope: dict[str, Any]) -> None:
    """Leaves out the channels that the envelope names but that nothing delivers yet (``PLANNED_CHANNELS``)."""
    for field in ("notification_type", "channels"):
        for kind in envelope[field]["anyOf"]:
            values = kind.get("items", kind)
            if "enum" in values:
                values["enum"] = [value for value in values["enum"] if _is_delivered(value)]


def _is_delivered(value: str) -> bool:
    return PLANNED_CHANNELS.isdisjoint(_SENDS_TO.get(value, (value,)))
