"""Serves ``GET /users/{user_id}/presence``: tells whether a user has a device connected."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.api.inbox import BAD_PATH, USER_ID, UserIdInPath, owner_of
from gateway.http.answers import AnswerModel
from gateway.http.auth import Caller
from gateway.http.endpoint import Answer, Resource
from gateway.http.errors import problem_for
from shared.clock import rfc3339
from shared.errors import RedisUnavailable
from shared.realtime.presence import PresenceReader

resource = Resource[PresenceReader](
    "presence", "See which users have a device connected", converters={"user_id": UserIdInPath}
)


class Connection(AnswerModel):
    """Describes one connected device."""

    connection: str
    since: str


class PresenceAnswer(AnswerModel):
    """Says whether a user is online. A device that was cut off counts for up to 41 seconds."""

    user_id: str
    online: bool
    connections: Annotated[list[Connection], Field(description="the oldest one first")]


@resource.endpoint(
    "GET",
    "/users/<user_id:user_id>/presence",
    scope="operate",
    users=True,
    path_fields={"user_id": USER_ID},
    answers=[
        Answer(
            200,
            "The connections of the user, over all nodes.",
            PresenceAnswer(
                user_id="u1",
                online=True,
                connections=[Connection(connection="b7f3a9c04d12", since="2030-01-01T12:00:00.000Z")],
            ),
        ),
        BAD_PATH,
        Answer(503, "Redis does not answer, so nobody knows.", problem_for(RedisUnavailable())),
    ],
)
def show_presence(presence: PresenceReader, user_id: str, caller: Caller) -> PresenceAnswer:
    """Show whether a user has a device connected."""
    found = presence.connected(owner_of(user_id))
    return PresenceAnswer(
        user_id=user_id,
        online=bool(found),
        connections=[Connection(connection=one.connection, since=rfc3339(one.since_ms)) for one in found],
    )
