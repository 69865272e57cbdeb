"""The schemas of the document, from the pydantic models that also do the work."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from gateway.http.strict_json import INT_MAX, INT_MIN
from gateway.openapi.failed_models import FailedList, FailedMessage, FailedOutcome
from gateway.openapi.models import AcceptedAnswer, BatchAnswer, HealthAnswer, LiveAnswer, ProblemDocument, ReadyAnswer
from gateway.openapi.rules import ENVELOPE_RULES, SELECTION_RULE, offer_what_is_delivered
from shared.failed.selection import Listing, ReplaySelection, Selection
from shared.message.envelope import Envelope

_REF = "#/components/schemas/{model}"
#: models that refuse what they do not know
_CLOSED = ("Envelope", "EnvelopeContent", "Recipient")
_NOTES = {
    "Envelope": {
        "request_id": "idempotency key, chosen by the caller: the same one is delivered once",
        "notification_type": "one channel; `both`, where the websocket channel is available, is websocket and "
        "email. Exactly one of this and `channels`",
        "channels": "several channels at once, instead of `notification_type`",
        "user_id": "who gets it (an integer is taken too); required unless `recipient` is given",
        "template_code": "content by template. Exactly one of this and `content`",
        "content": "content given whole",
        "variables": "for the template",
        "recipient": "where to send, instead of looking the user up; preferences are then not applied",
        "metadata": "carried through untouched",
        "expires_at": "RFC 3339; never sent after it",
        "type": "how an inbox shows it",
    },
    "EnvelopeContent": {
        "title": "required, except for sms",
        "body": "the text",
        "subject": "of an e-mail; the title if there is none",
        "html": "of an e-mail, beside the text",
        "data": "for the app that gets a push",
        "link": "opened by a tap",
    },
    "Recipient": {
        "push_tokens": "device tokens, at most 100",
        "email": "one address",
        "phone": "E.164",
    },
}


def schemas() -> dict[str, Any]:
    """``components.schemas``."""
    answers = (AcceptedAnswer, BatchAnswer, ProblemDocument, HealthAnswer, LiveAnswer, ReadyAnswer)
    models = (Envelope, *answers, Selection, ReplaySelection, FailedList, FailedMessage, FailedOutcome)
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    found: dict[str, Any] = definitions["$defs"]
    for name in _CLOSED:
        found[name]["additionalProperties"] = False
    for name, notes in _NOTES.items():
        for field, note in notes.items():
            found[name]["properties"][field]["description"] = note
    envelope = found["Envelope"]["properties"]
    # The wire takes a bare integer as well; it becomes a string.
    envelope["user_id"]["anyOf"].append({"type": "integer", "minimum": INT_MIN, "maximum": INT_MAX})
    offer_what_is_delivered(envelope)
    found["Envelope"]["allOf"] = ENVELOPE_RULES
    for name in ("Selection", "ReplaySelection"):
        found[name]["anyOf"] = SELECTION_RULE
    return found


def listing_fields() -> dict[str, tuple[str, dict[str, Any]]]:
    """What the query of a listing may hold: name -> (description, schema). A query knows no null."""
    fields = Listing.model_json_schema()["properties"]
    return {name: (field.pop("description"), _not_null(field)) for name, field in fields.items()}


def _not_null(field: dict[str, Any]) -> dict[str, Any]:
    field.pop("title")
    either: list[dict[str, Any]] = field.get("anyOf", [field])
    return next(kind for kind in either if kind["type"] != "null")


def ref(model: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=model)}
