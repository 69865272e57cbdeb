"""Defines the notification envelope: the JSON document that callers submit and that the queues contain.

One model serves both sides. The gateway rejects unknown fields and consumers ignore them, so that the gateways can be
upgraded last.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from shared.errors import InvalidEnvelope
from shared.message.channels import CHANNELS, Priority
from shared.message.email_address import PATTERN, parse_address
from shared.message.json_schema import exactly_one, given
from shared.message.problems import problem_of
from shared.message.text import (
    FORBIDDEN_IN_IDENTIFIER,
    FORBIDDEN_IN_LINE,
    FORBIDDEN_IN_TEXT,
    address,
    identifier,
    one_line,
    plain_text,
)

#: Largest envelope, bytes of JSON.
MAX_BODY_BYTES = 64 * 1024
MAX_PUSH_TOKENS = 100
#: Longest title and subject, characters. RFC 5322, section 2.1.1: a line of a mail has at most 998.
MAX_TITLE, MAX_SUBJECT = 1024, 998

NotificationType = Literal["push", "email", "sms", "websocket", "both"]
ChannelName = Literal["push", "email", "sms", "websocket"]
#: The names that the OpenAPI document offers. It omits those that are refused until a later version delivers them.
_OFFERED_CHANNELS = [name for name in get_args(ChannelName) if name in CHANNELS]
_OFFERED_TYPES = [*_OFFERED_CHANNELS, *(["both"] if {"websocket", "email"} <= CHANNELS.keys() else [])]

_DATE_AND_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}")


def whole(value: Any) -> Any:
    """Returns ``7`` for ``7.0``: to JSON Schema, and to languages without integers, they are the same number."""
    return int(value) if isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**64 else value


def _user_id(value: Any) -> Any:
    value = whole(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _priority(value: Any) -> Any:
    value = whole(value)
    if value in ("high", "medium", "low") and isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10:
        return value
    raise ValueError("must be high, medium, low or an integer from 0 to 10")


def _rfc3339(value: Any) -> Any:
    # Without this check, pydantic would read a text of digits as seconds since 1970.
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE_AND_TIME.match(value)):
        return value
    raise ValueError("must be an RFC 3339 date and time with an offset")


def _email(value: str) -> str:
    parse_address(value)
    return address(value)


# The patterns express the same rules in the OpenAPI document.
OneLine = Annotated[str, AfterValidator(one_line), Field(json_schema_extra={"pattern": f"^[^{FORBIDDEN_IN_LINE}]*$"})]
Text = Annotated[str, AfterValidator(plain_text), Field(json_schema_extra={"pattern": f"^[^{FORBIDDEN_IN_TEXT}]*$"})]
# A length stands in front of these in an annotation: behind a function, pydantic checks lengths in Python.
_IDENTIFIER = AfterValidator(identifier)
_IDENTIFIER_PATTERN = Field(json_schema_extra={"pattern": f"^[^{FORBIDDEN_IN_IDENTIFIER}]*$"})
Email = Annotated[str, Field(max_length=320, json_schema_extra={"pattern": PATTERN}), AfterValidator(_email)]
UserId = Annotated[
    str, Field(min_length=1, max_length=256), _IDENTIFIER, _IDENTIFIER_PATTERN, BeforeValidator(_user_id)
]
RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]


class _Part(BaseModel):
    # The gateway enforces additionalProperties (it validates with extra="forbid"); consumers do not.
    model_config = ConfigDict(frozen=True, json_schema_extra={"additionalProperties": False})


def _or_integer(schema: dict[str, Any]) -> None:
    """Adds to ``schema`` that a 64-bit integer is accepted too; ``_user_id`` turns it into a string."""
    schema["anyOf"].append({"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1})


def _or_null(schema: dict[str, Any]) -> None:
    """Adds to ``schema``, an enumeration of strings, that null is accepted too: it is the same as an absent field."""
    schema.update(type=["string", "null"], enum=[*schema["enum"], None])


class EnvelopeContent(_Part):
    """Holds content that is given directly. SMS needs only ``body``; ``subject`` defaults to ``title``."""

    title: Annotated[OneLine, Field(max_length=MAX_TITLE)] | None = Field(
        None, description="The title. It is required for push and websocket, and for email without a subject."
    )
    body: Annotated[Text, Field(min_length=1, description="The text of the message.")]
    subject: Annotated[OneLine, Field(max_length=MAX_SUBJECT)] | None = Field(
        None, description="The subject of an e-mail. The default is the title."
    )
    html: Text | None = Field(None, description="The HTML version of an e-mail, in addition to the text.")
    data: dict[str, Any] | None = Field(
        None,
        description="Data for the app that receives a push or shows the inbox. For push, the keys `from`, "
        "`message_type` and those that begin with `google` or `gcm` are reserved by FCM; `request_id` is always that "
        "of the notification.",
    )
    link: Annotated[OneLine, Field(max_length=4096)] | None = Field(None, description="The link that a tap opens.")


class Recipient(_Part):
    """Says where to send, so that the user is not looked up. Preferences are not applied."""

    push_tokens: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=4096), _IDENTIFIER, _IDENTIFIER_PATTERN]],
            Field(max_length=MAX_PUSH_TOKENS),
        ]
        | None
    ) = Field(None, description="Device tokens, at most 100.")
    email: Email | None = Field(None, description="One e-mail address.")
    phone: Annotated[OneLine, Field(min_length=1, max_length=64)] | None = Field(
        None,
        description="A phone number with + and country code; without them if the gateway has a default region.",
    )


class Envelope(_Part):
    """Describes one notification for one person, on one or several channels."""

    # These rules are the same that ``_exclusive`` checks.
    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "allOf": [
                exactly_one("notification_type", "channels"),
                exactly_one("template_code", "content"),
                {"anyOf": [given("user_id"), given("recipient")]},
            ],
        }
    )

    request_id: Annotated[
        RequestId, Field(description="Idempotency key, chosen by the caller: the same key is delivered once.")
    ]
    notification_type: Annotated[NotificationType, Field(json_schema_extra={"enum": _OFFERED_TYPES})] | None = Field(
        None,
        description="One channel; `both` means websocket and email. Give exactly one of this and `channels`.",
    )
    channels: (
        Annotated[
            list[Annotated[ChannelName, Field(json_schema_extra={"enum": _OFFERED_CHANNELS})]],
            Field(min_length=1, max_length=4),
        ]
        | None
    ) = Field(None, description="Several channels at once, instead of `notification_type`.")
    user_id: UserId | None = Field(
        None,
        description="The user who receives it; an integer is accepted too. Required for websocket, and unless "
        "`recipient` is given.",
        json_schema_extra=_or_integer,
    )
    template_code: Annotated[str, Field(min_length=1, max_length=128), _IDENTIFIER, _IDENTIFIER_PATTERN] | None = Field(
        None, description="The template of the content. Give exactly one of this and `content`."
    )
    content: EnvelopeContent | None = Field(None, description="The content itself, instead of a template.")
    variables: dict[str, Any] | None = Field(None, description="The variables for the template.")
    recipient: Recipient | None = Field(
        None, description="Where to send: the user is then not looked up, and preferences are not applied."
    )
    priority: Annotated[
        Any,
        AfterValidator(_priority),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "enum": ["high", "medium", "low"]},
                    {"type": "integer", "minimum": 0, "maximum": 10},
                    {"type": "null"},
                ],
                "description": "7 and above is high, 4 to 6 is medium, 3 and below is low.",
            }
        ),
    ] = "medium"
    metadata: dict[str, Any] | None = Field(None, description="Data of the caller; it is passed on unchanged.")
    expires_at: Annotated[AwareDatetime, BeforeValidator(_rfc3339)] | None = Field(
        None, description="An RFC 3339 time, after which the notification is never sent."
    )
    type: Literal["info", "success", "warning", "error"] = Field(
        "info", description="How an inbox displays it.", json_schema_extra=_or_null
    )
    category: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")] | None = Field(
        None, description="What it is about, such as `billing`; an inbox can be filtered by it."
    )

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        if (self.notification_type is None) == (self.channels is None):
            raise ValueError("notification_type: exactly one of notification_type and channels is required")
        if (self.template_code is None) == (self.content is None):
            raise ValueError("content: exactly one of template_code and content is required")
        if self.user_id is None and self.recipient is None:
            raise ValueError("user_id: required unless recipient is given")
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """Returns the requested channels, each once, in the caller's order."""
        if self.channels is not None:
            return tuple(dict.fromkeys(self.channels))
        if self.notification_type == "both":
            return ("websocket", "email")
        return (str(self.notification_type),)

    @property
    def lane_priority(self) -> Priority:
        """Returns the priority of the lane: 7 and above is high, 4 to 6 is medium, 3 and below is low."""
        value = self.priority
        if isinstance(value, int):
            return "high" if value >= 7 else "medium" if value >= 4 else "low"
        name: Priority = value
        return name

    def body_for(self, channel: str) -> bytes:
        """Returns the bytes that version 0 of the gateway published for one channel.

        Records of its messages hold their hash. They depend on this model, so nothing new may be compared by them.
        """
        fields = self.model_dump(mode="json", exclude_unset=True, exclude={"channels", "notification_type"})
        return orjson.dumps({**fields, "notification_type": channel}, option=orjson.OPT_SORT_KEYS)


def validate_envelope(document: Any, *, extra: Literal["forbid", "ignore"]) -> Envelope:
    """Checks a decoded JSON document. Raises InvalidEnvelope (``invalid_envelope``) that names every bad field."""
    try:
        return Envelope.model_validate(_without_nulls(document), extra=extra)
    except ValidationError as exc:
        raise InvalidEnvelope("invalid_envelope", [problem_of(e) for e in exc.errors(include_url=False)]) from exc


def _without_nulls(document: Any) -> Any:
    """Returns the document without known fields that are null: they are the same as absent ones, also when published.

    It is no validator of the models, because those would cost 1 us for each envelope, and nulls are rare.
    """
    if not isinstance(document, dict):
        return document
    if None in document.values():
        document = _given(document, Envelope)
    for name, part in _PARTS:
        inner = document.get(name)
        if isinstance(inner, dict) and None in inner.values():
            document = {**document, name: _given(inner, part)}
    return document


def _given(fields: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None or name not in model.model_fields}


_PARTS: tuple[tuple[str, type[BaseModel]], ...] = (("content", EnvelopeContent), ("recipient", Recipient))


def parse_queued(body: bytes, channel: str) -> Envelope:
    """Parses a body from a queue of ``channel``. Raises the errors of ``decode_queued`` and ``check_queued``."""
    return check_queued(decode_queued(body), channel)


def decode_queued(body: bytes) -> Any:
    """Decodes a body from a queue. Raises InvalidEnvelope with reason ``too_large`` or ``invalid_json``."""
    if len(body) > MAX_BODY_BYTES:
        raise InvalidEnvelope("too_large", [("", f"{len(body)} bytes; at most {MAX_BODY_BYTES}")])
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidEnvelope("invalid_json", [("", str(exc))]) from exc


def check_queued(document: Any, channel: str) -> Envelope:
    """Checks a decoded body from a queue of ``channel``.

    Raises InvalidEnvelope with reason ``invalid_envelope`` or ``wrong_channel``.
    """
    envelope = validate_envelope(document, extra="ignore")
    only = envelope.notification_type if envelope.channels is None else ""
    if only != channel and envelope.targets != (channel,):
        targets = ", ".join(envelope.targets)
        raise InvalidEnvelope(
            "wrong_channel", [("notification_type", f"{targets} does not belong in the lanes of {channel}")]
        )
    return envelope
