"""Defines what is told about a notification, and the id by which a repeated event is recognised.

A *report* tells what happened to one delivery in one step: a worker makes one for each message that it settles, the
gateway one for each channel of an accepted notification. It holds one or more *happenings*, and each of them becomes
an *event*. Reports and happenings are plain tuples, because a worker makes them for every message, and orjson writes no
other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

Kind = Literal[
    "accepted",
    "attempted",
    "retrying",
    "sent",
    "delivered",
    "failed",
    "skipped",
    "duplicate",
    "replayed",
    "expired",
    "token_dead",
    "read",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Longest text of an error in an event, characters.
MOST_DETAIL = 300

#: kind, time (ms since the epoch), provider, code, duration of a call (ms), reason, detail, time of the next try, body
Happening = tuple[str, int, str, str, int | None, str, str, int | None, str | None]
#: client, request_id, channel, user_id, priority, type, acceptance (ms, 0 if unknown), replay, attempt, deferrals,
#: mark, happenings. ``mark`` tells reports apart that have all numbers in common: those of two copies of a message.
Report = tuple[str, str, str, str, str, str, int, int, int, int, str, Sequence[Happening]]


class Subject(NamedTuple):
    """Names the delivery that a report is about: a notification on one channel, in the namespace of its client."""

    request_id: str
    client: str
    channel: str


class Event(NamedTuple):
    """Tells one thing that happened to a delivery. The fields up to ``type`` belong to the notification.

    ``accepted_ms`` is the start of its life, 0 if unknown. ``id`` is the same whenever the same thing is told again.
    ``ms`` is how long a call took. ``reason`` is a word of a closed list, ``detail`` an operator's text. ``body`` is
    what was published, if it may have to be published again.
    """

    request_id: str
    client: str
    channel: str
    id: int
    user_id: str
    priority: str
    type: str
    accepted_ms: int
    replay: int
    attempt: int
    kind: Kind
    at_ms: int
    provider: str = ""
    code: str = ""
    ms: int | None = None
    reason: str = ""
    detail: str = ""
    next_try_ms: int | None = None
    body: str | None = None

    @property
    def subject(self) -> Subject:
        return Subject(self.request_id, self.client, self.channel)


def happening(
    kind: Kind,
    at_ms: int,
    *,
    provider: str = "",
    code: str = "",
    ms: int | None = None,
    reason: str = "",
    detail: str = "",
    next_try_ms: int | None = None,
    body: str | None = None,
) -> Happening:
    """Returns a happening. A long ``detail`` is cut."""
    return (kind, at_ms, provider, code, ms, reason, detail[:MOST_DETAIL], next_try_ms, body)


def events_of(report: Report) -> Iterator[Event]:
    """Yields the events of a report."""
    client, request_id, channel, user_id, priority, type_, accepted_ms, replay, attempt, deferrals, mark, told = report
    counts: dict[str, int] = {}
    for kind, at_ms, provider, code, ms, reason, detail, next_try_ms, body in told:
        number = counts[kind] = counts.get(kind, 0) + 1
        yield Event(
            request_id,
            client,
            channel,
            event_id(kind, replay, attempt, deferrals, number, mark),
            user_id,
            priority,
            type_,
            accepted_ms,
            replay,
            attempt,
            kind,  # type: ignore[arg-type]  # ``wire`` has checked it
            at_ms,
            provider,
            code,
            ms,
            reason,
            detail,
            next_try_ms,
            body,
        )


def event_id(kind: str, replay: int, attempt: int, deferrals: int, number: int, mark: str) -> int:
    """Returns the id of an event among those of its delivery: 63 bits that follow from what happened.

    A process that dies between telling and acking tells the same again, with the same ids. ``number`` counts the events
    of one kind in one report.
    """
    told = f"{kind}|{replay}|{attempt}|{deferrals}|{number}|{mark}".encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big") >> 1
