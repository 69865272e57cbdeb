"""Serves channels: ``POST /send``, ``GET /history/<channel>`` and groups of channels.

A channel needs no declaration: it begins with its first message. What is sent reaches everybody who listens now, and is
kept for a while; nothing more is promised. A notification that must reach its user belongs to ``POST /notifications``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, Self

from flask import request
from pydantic import AfterValidator, Field, model_validator
from werkzeug.routing import BaseConverter

from gateway.http.answers import AnswerModel
from gateway.http.auth import ANONYMOUS
from gateway.http.endpoint import Answer, Body, PathField, Resource
from gateway.http.errors import problem_for
from gateway.http.problem import Problem
from gateway.http.validated import RequestModel, body_of
from shared.clock import rfc3339
from shared.errors import RedisUnavailable, StoreUnavailable
from shared.message.channels import PRIORITIES, Priority
from shared.message.envelope import RequestId
from shared.message.text import plain_text
from shared.realtime.channels.message import Sent
from shared.realtime.channels.names import PATTERN, RULE, is_name
from shared.realtime.channels.sender import Channels
from shared.store.store import Store

#: Longest message of a channel, characters. A wake-up of the largest one is below 32 KiB.
MOST_CHARS = 4096
#: Most channels of one group.
MOST_IN_GROUP = 100


class Sending(NamedTuple):
    """Holds what the handlers here work with."""

    channels: Channels
    store: Store


class NameInPath(BaseConverter):
    """Takes any text, so that a bad name gets an error that says what is wrong."""

    part_isolating = False
    regex = r"[^/]+"


resource = Resource[Sending](
    "channels",
    "Send to channels, read what was sent lately, and give several channels one name",
    converters={"channel": NameInPath},
)

Name = Annotated[str, Field(pattern=f"^{PATTERN}$")]
_NAME_SCHEMA = {"type": "string", "pattern": f"^{PATTERN}$"}
CHANNEL = PathField("The channel.", _NAME_SCHEMA)
PRIORITY = PathField("The priority.", {"type": "string", "enum": list(PRIORITIES)})
GROUP = PathField("The group.", _NAME_SCHEMA)


class Send(RequestModel):
    """Is one message, for one channel or for every channel of a group."""

    channel: Name | None = Field(None, description="Give exactly one of this and `group`.")
    group: Name | None = Field(None, description="A group, instead of a channel.")
    message: Annotated[str, Field(min_length=1, max_length=MOST_CHARS), AfterValidator(plain_text)]
    priority: Priority = "medium"
    request_id: RequestId | None = Field(
        None, description="Sent again with the same one, the message is not sent again: the first answer is repeated."
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.channel is None) == (self.group is None):
            raise ValueError("channel: exactly one of channel and group is required")
        return self


class SentAnswer(AnswerModel):
    """Says where the message is in one channel."""

    channel: str
    id: str
    epoch: str
    offset: int
    created_at: str


class SendAnswer(AnswerModel):
    """Says where the message is: in one channel, or in each channel of a group."""

    status: Annotated[str, Field(description="`sent`")] = "sent"
    repeated: Annotated[bool, Field(description="it had been sent before, with the same request_id")]
    sent: list[SentAnswer]


class ChannelMessage(AnswerModel):
    """Is one message of a channel."""

    channel: str
    id: str
    offset: Annotated[int, Field(description="its place in the channel; it counts the messages of all priorities")]
    priority: Priority
    message: str
    created_at: str


class History(AnswerModel):
    """Holds what a channel keeps, newest first."""

    channel: str
    counts: Annotated[dict[str, int], Field(description="messages kept, by priority; `sent`: sent in all")]
    items: list[ChannelMessage]


class GroupBody(RequestModel):
    """Names the channels of a group."""

    channels: Annotated[list[Name], Field(min_length=1, max_length=MOST_IN_GROUP)]


class Group(AnswerModel):
    """Is a name for several channels."""

    name: str
    channels: list[str]


class Groups(AnswerModel):
    """Holds all groups."""

    items: list[Group]


_SENT = SentAnswer(
    channel="news.sport", id="1f0c9a3e-17", epoch="1f0c9a3e", offset=17, created_at="2030-01-01T12:00:00.000Z"
)
_MESSAGE = ChannelMessage(
    channel="news.sport",
    id="1f0c9a3e-17",
    offset=17,
    priority="high",
    message="Server is down!",
    created_at="2030-01-01T12:00:00.000Z",
)
_BAD_NAME = Answer(422, "The name is not valid.", Problem(422, "the path is not valid", [("channel", RULE)]))
_AWAY = Answer(503, "Redis does not answer, so nothing was sent, or nobody knows.", problem_for(RedisUnavailable()))
_STORE_AWAY = Answer(503, "The database does not answer.", problem_for(StoreUnavailable()))
_NO_GROUP = Answer(404, "There is no such group.", Problem(404, "there is no such group"))
_GROUP = Group(name="ops", channels=["news.ops", "news.sport"])


@resource.endpoint(
    "POST",
    "/send",
    scope="send",
    body=Body(
        Send,
        {
            "one_channel": {"channel": "news.sport", "message": "Server is down!", "priority": "high"},
            "a_group": {"group": "ops", "message": "Deployed.", "request_id": "deploy-17"},
        },
    ),
    answers=[
        Answer(200, "The message was sent.", SendAnswer(repeated=False, sent=[_SENT])),
        Answer(
            422,
            "The body is not valid; every bad field is named.",
            Problem(422, "the body is not valid", [("priority", "must be high, medium or low")]),
        ),
        Answer(404, "There is no such group.", Problem(404, "there is no such group", [("group", "is not known")])),
        _AWAY,
    ],
)
def send_to_channel(sending: Sending, client: str) -> SendAnswer:
    """Send a message to a channel, or to all channels of a group."""
    wanted = body_of(request, Send)
    sender = "" if client == ANONYMOUS else client
    sent = [
        sending.channels.send(channel, wanted.message, wanted.priority, client=sender, request_id=wanted.request_id)
        for channel in _targets(sending, wanted)
    ]
    return SendAnswer(repeated=all(one.repeated for one in sent), sent=[_shown(one) for one in sent])


@resource.endpoint(
    "GET",
    "/history/<channel:channel>",
    scope="send",
    path_fields={"channel": CHANNEL},
    answers=[
        Answer(
            200,
            "What the channel keeps: at most 100 messages of each priority, at most 24 hours old.",
            History(channel="news.sport", counts={"high": 1, "medium": 0, "low": 0, "sent": 17}, items=[_MESSAGE]),
        ),
        _BAD_NAME,
        _AWAY,
    ],
)
def show_history(sending: Sending, channel: str, client: str) -> History:
    """Show what was sent to a channel lately."""
    return _history(sending, _checked(channel), None)


@resource.endpoint(
    "GET",
    "/history/<channel:channel>/<channel:priority>",
    scope="send",
    path_fields={"channel": CHANNEL, "priority": PRIORITY},
    answers=[
        Answer(
            200,
            "What the channel keeps of this priority.",
            History(channel="news.sport", counts={"high": 1, "medium": 0, "low": 0, "sent": 17}, items=[_MESSAGE]),
        ),
        _BAD_NAME,
        _AWAY,
    ],
)
def show_history_of_priority(sending: Sending, channel: str, priority: str, client: str) -> History:
    """Show what was sent to a channel lately with one priority."""
    name = _checked(channel)
    for known in PRIORITIES:
        if priority == known:
            return _history(sending, name, known)
    raise Problem(422, "the path is not valid", [("priority", "must be high, medium or low")])


@resource.endpoint(
    "PUT",
    "/groups/<channel:name>",
    scope="operate",
    path_fields={"name": GROUP},
    body=Body(GroupBody, {"two_channels": {"channels": ["news.ops", "news.sport"]}}),
    answers=[Answer(200, "The group, as it is now.", _GROUP), _BAD_NAME, _STORE_AWAY],
)
def put_group(sending: Sending, name: str, client: str) -> Group:
    """Make a group, or replace its channels."""
    checked = _checked(name, "name")
    sending.store.put_group(checked, body_of(request, GroupBody).channels)
    return Group(name=checked, channels=sending.store.group(checked))


@resource.endpoint(
    "GET",
    "/groups",
    scope="send",
    answers=[Answer(200, "All groups.", Groups(items=[_GROUP])), _STORE_AWAY],
)
def list_groups(sending: Sending, client: str) -> Groups:
    """List the groups and their channels."""
    found = sending.store.groups()
    return Groups(items=[Group(name=name, channels=channels) for name, channels in found.items()])


@resource.endpoint(
    "GET",
    "/groups/<channel:name>",
    scope="send",
    path_fields={"name": GROUP},
    answers=[Answer(200, "The group.", _GROUP), _NO_GROUP, _BAD_NAME, _STORE_AWAY],
)
def show_group(sending: Sending, name: str, client: str) -> Group:
    """Show the channels of a group."""
    checked = _checked(name, "name")
    channels = sending.store.group(checked)
    if not channels:
        raise Problem(404, "there is no such group")
    return Group(name=checked, channels=channels)


@resource.endpoint(
    "DELETE",
    "/groups/<channel:name>",
    scope="operate",
    path_fields={"name": GROUP},
    answers=[
        Answer(200, "The group is gone; its channels are as they were.", Group(name="ops", channels=[])),
        _NO_GROUP,
        _BAD_NAME,
        _STORE_AWAY,
    ],
)
def delete_group(sending: Sending, name: str, client: str) -> Group:
    """Remove a group; its channels stay."""
    checked = _checked(name, "name")
    if not sending.store.put_group(checked, ()):
        raise Problem(404, "there is no such group")
    return Group(name=checked, channels=[])


def _targets(sending: Sending, wanted: Send) -> Sequence[str]:
    if wanted.channel is not None:
        return [wanted.channel]
    channels = sending.store.group(wanted.group or "")
    if not channels:
        raise Problem(404, "there is no such group", [("group", "is not known")])
    return channels


def _checked(name: str, field: str = "channel") -> str:
    if not is_name(name):
        raise Problem(422, "the path is not valid", [(field, RULE)])
    return name


def _history(sending: Sending, channel: str, priority: Priority | None) -> History:
    items: list[dict[str, Any]] = sending.channels.history(channel, priority)
    return History(
        channel=channel,
        counts=sending.channels.counts(channel),
        items=[ChannelMessage(**{name: item[name] for name in ChannelMessage.model_fields}) for item in items],
    )


def _shown(sent: Sent) -> SentAnswer:
    return SentAnswer(
        channel=sent.channel, id=sent.id, epoch=sent.epoch, offset=sent.offset, created_at=rfc3339(sent.at_ms)
    )
