"""Serves ``/auth``: gives backends tokens and tickets for their users, and devices fresh tokens."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import redis
from flask import request
from pydantic import Field, StrictInt, WithJsonSchema

from gateway.api.inbox import USER_ID
from gateway.http.answers import AnswerModel
from gateway.http.auth import Caller, invalid_token
from gateway.http.endpoint import Answer, Body, Resource
from gateway.http.errors import problem_for
from gateway.http.problem import Problem
from gateway.http.validated import IN_JSON, RequestModel, body_of
from shared.clock import now_ms, rfc3339
from shared.errors import RedisUnavailable
from shared.message.envelope import UserId
from shared.realtime.refresh import Pair, Pairs
from shared.realtime.tickets import make_ticket
from shared.realtime.tokens import (
    CHANNEL_PATTERN,
    LIFE_S,
    MOST_CHANNEL_CHARS,
    MOST_CHANNELS,
    MOST_CHARS,
    MOST_LIFE_S,
    Claims,
    NoTokenKeys,
    TokenRefused,
)


class Issuing(NamedTuple):
    """Holds what the handlers here work with."""

    pairs: Pairs
    redis: redis.Redis


resource = Resource[Issuing](
    "auth", "Get tokens and tickets with which the devices of a user connect; for backends, with the scope `tokens`"
)

Channel = Annotated[str, Field(min_length=1, max_length=MOST_CHANNEL_CHARS, pattern=f"^{CHANNEL_PATTERN}$")]


_USER_ID = {
    "anyOf": [dict(USER_ID.schema), {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1}],
    "description": "The user; an integer is accepted too.",
}


class Grant(RequestModel):
    """Says what a token or the connection of a ticket may do, and for how long."""

    user_id: Annotated[UserId, WithJsonSchema(_USER_ID)]
    channels: Annotated[list[Channel], Field(max_length=MOST_CHANNELS)] = Field(
        [], description="The channels that may be subscribed: names, or patterns such as `news.*`."
    )
    ttl_s: Annotated[StrictInt, Field(ge=1, le=MOST_LIFE_S), IN_JSON] = Field(
        LIFE_S, description="For how long, seconds. A connection may be renewed before its end."
    )


class RefreshRequest(RequestModel):
    """Holds the refresh token to exchange."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=MOST_CHARS)] = Field(
        description="From the last answer. It is good once: if it comes again later, all that came from it are revoked."
    )


class TokenAnswer(AnswerModel):
    """Holds a token for the devices of one user."""

    token: str
    refresh_token: Annotated[str, Field(description="good for one `POST /auth/refresh`, for 30 days")]
    expires_at: Annotated[str, Field(description="when the token ends")]


class TicketAnswer(AnswerModel):
    """Holds a ticket, which may stand in a URL."""

    ticket: str
    expires_at: Annotated[str, Field(description="until when it opens a connection")]


_TOKEN = "header.claims.signature"
_PAIR = TokenAnswer(token=_TOKEN, refresh_token=_TOKEN, expires_at="2030-01-01T12:15:00.000Z")
_BAD_GRANT = Answer(
    422,
    "The body is not valid; every bad field is named.",
    Problem(422, "the body is not valid", [("user_id", "required"), ("ttl_s", "must be at most 86400")]),
)
_REDIS_AWAY = Answer(503, "Redis does not answer; try again.", problem_for(RedisUnavailable()))
_GRANTS = {"one_user": {"user_id": "u1"}, "channels_too": {"user_id": "u1", "channels": ["news.*"], "ttl_s": 900}}


@resource.endpoint(
    "POST",
    "/auth/token",
    scope="tokens",
    body=Body(Grant, _GRANTS),
    answers=[
        Answer(200, "A token, and a refresh token for the next one.", _PAIR),
        _BAD_GRANT,
        Answer(503, "No key to sign tokens is set.", problem_for(NoTokenKeys())),
    ],
)
def make_token(issuing: Issuing, client: str) -> TokenAnswer:
    """Make a token for the devices of a user."""
    grant = body_of(request, Grant)
    return _pair(issuing.pairs.make(grant.user_id, grant.channels, grant.ttl_s))


@resource.endpoint(
    "POST",
    "/auth/ticket",
    scope="tokens",
    users=True,
    body=Body(Grant, _GRANTS),
    answers=[
        Answer(
            200,
            "A ticket that opens one connection within 30 seconds.",
            TicketAnswer(ticket="o0pwdOaR5bGSXyJ6eHbV6GZk1b8m2nH7rZ0r9H3uTqY", expires_at="2030-01-01T12:00:30.000Z"),
        ),
        _BAD_GRANT,
        _REDIS_AWAY,
    ],
)
def make_ticket_for_user(issuing: Issuing, caller: Caller) -> TicketAnswer:
    """Make a ticket for one connection of a user.

    With a user's own token, the ticket grants no more than the token does.
    """
    grant = body_of(request, Grant)
    caller.check_user(grant.user_id)
    claims = Claims(grant.user_id, tuple(grant.channels), now_ms() + grant.ttl_s * 1000)
    if caller.claims is not None:
        claims = _within(claims, caller.claims)
    ticket, expires_ms = make_ticket(issuing.redis, claims)
    return TicketAnswer(ticket=ticket, expires_at=rfc3339(expires_ms))


@resource.endpoint(
    "POST",
    "/auth/refresh",
    scope="tokens",
    key_optional=True,
    body=Body(RefreshRequest, {"refresh": {"refresh_token": _TOKEN}}),
    answers=[
        Answer(200, "The next pair, with the same user, channels and life.", _PAIR),
        Answer(
            401,
            "The refresh token is not valid, was used before, or an API key came with it that is unknown.",
            invalid_token("the token has expired", "refresh_token"),
        ),
        Answer(422, "The body is not valid.", Problem(422, "the body is not valid", [("refresh_token", "required")])),
        _REDIS_AWAY,
    ],
)
def refresh_token(issuing: Issuing, client: str) -> TokenAnswer:
    """Exchange a refresh token for the next pair. Its holder needs no API key."""
    body = body_of(request, RefreshRequest)
    try:
        return _pair(issuing.pairs.exchange(body.refresh_token))
    except TokenRefused as refused:
        raise invalid_token(str(refused), "refresh_token") from None


def _pair(pair: Pair) -> TokenAnswer:
    return TokenAnswer(
        token=pair.token.text, refresh_token=pair.refresh_token.text, expires_at=rfc3339(pair.token.expires_ms)
    )


def _within(asked: Claims, own: Claims) -> Claims:
    """Returns what is asked for as far as the caller's own token has it. Raises Problem 403 for a channel beyond it."""
    beyond = [
        (f"channels.{index}", "the token does not grant this channel")
        for index, channel in enumerate(asked.channels)
        if not own.allows(channel)
    ]
    if beyond:
        raise Problem(403, "this token does not grant these channels", beyond)
    return Claims(asked.user_id, asked.channels, min(asked.expires_ms, own.expires_ms))
