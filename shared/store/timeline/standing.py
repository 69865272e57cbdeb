"""Decides where a delivery stands, from its events in whatever order they arrive. It is pure.

Every column of a row is a maximum, a minimum or a sum over the delivery's events, so it does not matter which of them
come first, or together. The status is that of the highest *rank*. A later life (an operator's replay) ranks above an
earlier one, and within a life what is more final: a call that is told late never undoes a success. That somebody has
read it is above everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from shared.events.event import Event, Subject
from shared.store.timeline.rows import Status

#: How final each status is within one life. Those from TERMINAL on are an end.
LEVELS: dict[Status, int] = {
    "pending": 0,
    "skipped": 3,
    "expired": 4,
    "failed": 5,
    "sent": 8,
    "delivered": 9,
    "read": 10,
}
TERMINAL = 3
#: A rank is replay * 16 + level. Replays are times in ms: it stays below 2^53.
LIVES = 16
#: A place is replay * 1024 + attempt; there are at most 1 000 attempts.
PLACES = 1024
#: A vendor's or a user's word comes without the number of its life.
_ANY_LIFE = 2**53 - LIVES

_STATUS_OF: dict[str, Status] = {
    "sent": "sent",
    "delivered": "delivered",
    "failed": "failed",
    "skipped": "skipped",
    "expired": "expired",
    "read": "read",
}
#: What a dropped copy says of its message, by its reason.
_DONE: dict[str, Status] = {"duplicate": "sent", "skipped": "skipped"}
#: What tells of a failure, and so has a reason that is worth to be kept.
_FAILURES = ("attempted", "retrying", "failed", "expired", "skipped")


class Standing(NamedTuple):
    """Holds what some events of one delivery say together: the row to insert, or to merge into the one that exists.

    ``call`` is (time, provider) of the last call, ``failure`` (time, reason, detail) of the last failure, and ``next``
    (place, time) of the last retry.
    """

    subject: Subject
    user_id: str
    priority: str
    type: str
    status: Status
    rank: int
    place: int
    attempts: int
    created_ms: int
    updated_ms: int
    call: tuple[int, str]
    failure: tuple[int, str, str]
    next_try_ms: int
    sent_ms: int | None
    delivered_ms: int | None
    read_ms: int | None
    latency_ms: int | None
    body: str | None


def standings(events: Iterable[Event]) -> list[Standing]:
    """Returns one standing for each delivery, in ascending order: writers that lock rows in one order do not deadlock.

    ``events`` holds each event once.
    """
    by_subject: dict[Subject, list[Event]] = {}
    for event in events:
        by_subject.setdefault(event.subject, []).append(event)
    return [_standing(subject, by_subject[subject]) for subject in sorted(by_subject)]


def status_of(rank: int) -> Status:
    return next(status for status, level in LEVELS.items() if level == rank % LIVES)


def rank_of(event: Event) -> int:
    """Returns how far this event alone brings its delivery."""
    if event.kind in ("read", "delivered"):
        return _ANY_LIFE + LEVELS[_STATUS_OF[event.kind]]
    if event.kind == "duplicate":
        # Redis had recorded the message as done, although perhaps nobody has told that.
        return LIVES * event.replay + LEVELS[_DONE.get(event.reason, "pending")]
    return LIVES * event.replay + LEVELS[_STATUS_OF.get(event.kind, "pending")]


def _standing(subject: Subject, events: list[Event]) -> Standing:
    rank = max(map(rank_of, events))
    times = [event.at_ms for event in events]
    sent = [event for event in events if event.kind == "sent"]
    calls = [
        (event.at_ms, event.provider) for event in events if event.kind in ("attempted", "sent") and event.provider
    ]
    failures = [
        (event.at_ms, event.reason, event.detail) for event in events if event.kind in _FAILURES and event.reason
    ]
    bodies = [event.body for event in events if event.body is not None]
    ended = rank % LIVES >= TERMINAL
    return Standing(
        subject,
        user_id=max(event.user_id for event in events),
        priority=max(event.priority for event in events),
        type=max(event.type for event in events),
        status=status_of(rank),
        rank=rank,
        place=max(PLACES * event.replay + (event.attempt + 1 if event.kind == "retrying" else 0) for event in events),
        attempts=sum(event.kind == "attempted" for event in events),
        created_ms=min(event.accepted_ms or event.at_ms for event in events),
        updated_ms=max(times),
        call=max(calls, default=(0, "")),
        failure=max(failures, default=(0, "", "")),
        next_try_ms=max((event.next_try_ms or 0 for event in events), default=0),
        sent_ms=_first(event.at_ms for event in sent),
        delivered_ms=_first(event.at_ms for event in events if event.kind == "delivered"),
        read_ms=_first(event.at_ms for event in events if event.kind == "read"),
        latency_ms=_first(max(0, event.at_ms - event.accepted_ms) for event in sent if event.accepted_ms),
        body=None if ended or not bodies else bodies[0],
    )


def _first(times: Iterable[int]) -> int | None:
    return min(times, default=None)
