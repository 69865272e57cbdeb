"""The one table from our errors to HTTP."""

from __future__ import annotations

from typing import Final

from gateway.http.problem import RETRY_OVERLOADED_S, RETRY_SOON_S, Problem, unavailable
from shared.errors import (
    BrokerUnavailable,
    InvalidEnvelope,
    InvalidSelection,
    Locked,
    NotifyError,
    PublishRejected,
    PublishUnknown,
    PublishUnroutable,
    RedisUnavailable,
)

FAULT: Final = Problem(500, "internal error; see the server log")

_UNAVAILABLE: tuple[tuple[type[NotifyError], str], ...] = (
    (PublishUnroutable, "no queue takes this notification at the moment"),
    (PublishRejected, "the queue refuses notifications at the moment"),
    (PublishUnknown, "the broker has not confirmed the notification in time; sending it again is safe"),
    (BrokerUnavailable, "the broker does not answer at the moment"),
    (RedisUnavailable, "the store does not answer at the moment"),
)


def problem_for(error: NotifyError) -> Problem:
    """What the caller is told. An error that is not in the table is a fault of ours: 500."""
    if isinstance(error, InvalidEnvelope):
        return Problem(422, "the notification is not valid", error.problems)
    if isinstance(error, InvalidSelection):
        return Problem(422, "which failed messages are meant cannot be told", error.problems)
    if isinstance(error, Locked):
        return Problem(409, "another operation on failed.queue is under way", retry_after_s=RETRY_SOON_S)
    for kind, detail in _UNAVAILABLE:
        if isinstance(error, kind):
            return unavailable(detail, RETRY_OVERLOADED_S)
    return FAULT
