"""Maps the product's errors to HTTP statuses, in one table."""

from __future__ import annotations

from typing import Final

from gateway.http.problem import RETRY_LANE_FULL_S, RETRY_OVERLOADED_S, RETRY_SOON_S, Problem, unavailable
from shared.errors import (
    BrokerUnavailable,
    DataRejected,
    InvalidEnvelope,
    InvalidSelection,
    Locked,
    NotifyError,
    PublishRejected,
    PublishUnknown,
    PublishUnroutable,
    RedisUnavailable,
    SchemaMismatch,
    StoreUnavailable,
)
from shared.realtime.tokens import NoTokenKeys

FAULT: Final = Problem(500, "internal error; see the server log")

_UNAVAILABLE: tuple[tuple[type[NotifyError], str], ...] = (
    (PublishUnroutable, "no queue accepts this notification at the moment; sending it again is safe"),
    (PublishRejected, "the queue refuses notifications at the moment; sending it again is safe"),
    (PublishUnknown, "the broker has not confirmed the notification in time; sending it again is safe"),
    (BrokerUnavailable, "the broker does not answer at the moment"),
    (RedisUnavailable, "Redis does not answer at the moment"),
    (SchemaMismatch, "the store of the inboxes has to be migrated first; sending it again is safe"),
    (StoreUnavailable, "the store of the inboxes does not answer at the moment; sending it again is safe"),
)


def problem_for(error: NotifyError) -> Problem:
    """Returns the problem that the caller sees. An error that is not in the table is an internal one: 500."""
    if isinstance(error, InvalidEnvelope):
        return Problem(422, "the notification is not valid", error.problems)
    if isinstance(error, InvalidSelection):
        return Problem(422, "the selection of failed messages is not valid", error.problems)
    if isinstance(error, DataRejected):
        # Everything else that a caller names was checked before.
        return Problem(422, "the database refuses a value", [("user_id", "cannot be stored")])
    if isinstance(error, Locked):
        return Problem(409, "another operation on failed.queue is in progress", retry_after_s=RETRY_SOON_S)
    if isinstance(error, NoTokenKeys):
        return unavailable("no tokens can be made here: SOCKET_TOKEN_KEYS is not set", RETRY_LANE_FULL_S)
    for kind, detail in _UNAVAILABLE:
        if isinstance(error, kind):
            return unavailable(detail, RETRY_OVERLOADED_S)
    return FAULT
