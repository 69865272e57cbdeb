"""Implements the table of the claims' transitions in plain Python: from a record and a request to the next record.

There is one function per script. Each says which row of the table it went through, so that a test can tell whether it
has seen all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from shared.idempotency.claims import END, Forwarded, Verdict

Counter = Literal["takeovers", "state_lost", "lease_lost"]


class Row(StrEnum):
    """Names the rows of the table; a row whose answer adds to another counter is a row of its own."""

    CLAIM_NOTHING = "claim: nothing stored"
    CLAIM_STATE_LOST = "claim: nothing stored, although there was"
    CLAIM_REUSED = "claim: another body's record"
    CLAIM_DUPLICATE = "claim: done"
    CLAIM_RENEWED = "claim: ours, running"
    CLAIM_RENEWED_LATE = "claim: ours, lapsed"
    CLAIM_HELD = "claim: another's, running"
    CLAIM_STALE_HANDED_ON = "claim: handed on above this copy"
    CLAIM_STALE_LAPSED = "claim: another's, lapsed, above this copy"
    CLAIM_HANDED_ON = "claim: handed on at or below this copy"
    CLAIM_TAKEOVER = "claim: another's, lapsed, at or below this copy"
    DONE_OURS = "done: ours"
    DONE_AGAIN = "done: the very same D"
    DONE_LOST = "done: not ours any more"
    HANDED_ON_OURS = "handed on: ours"
    HANDED_ON_AGAIN = "handed on: the very same F"
    HANDED_ON_LOST = "handed on: anything else"
    RELEASE_OURS = "release: ours"
    RELEASE_LOST = "release: anything else"


@dataclass(frozen=True, slots=True)
class Working:
    """Models the record P: one delivery holds the claim, or held it until its lease ran out."""

    token: str
    replay: int
    attempt: int
    body: str
    lapsed: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """Models the record F: forwarded; ``n`` is the lowest attempt that may be claimed in this replay."""

    n: Forwarded
    replay: int
    body: str


@dataclass(frozen=True, slots=True)
class Done:
    """Models the record D. ``outcome``: provider and its id, or ``skipped``."""

    body: str
    outcome: str


Record = Working | Passed | Done | None


@dataclass(frozen=True, slots=True)
class Step:
    """Says what a script must do: ``record`` is stored afterwards, ``counted`` goes up by one."""

    row: Row
    record: Record
    verdict: Verdict | None = None
    counted: Counter | None = None


def claim(stored: Record, token: str, replay: int, attempt: int, body: str, redelivered: bool) -> Step:
    ours = Working(token, replay, attempt, body)
    match stored:
        case None if redelivered or attempt > 0:
            return Step(Row.CLAIM_STATE_LOST, ours, "yes", "state_lost")
        case None:
            return Step(Row.CLAIM_NOTHING, ours, "yes")
        case _ if stored.body != body:
            return Step(Row.CLAIM_REUSED, stored, "reused")
        case Done():
            return Step(Row.CLAIM_DUPLICATE, stored, "duplicate")
        case Working() if stored.token == token:
            return Step(Row.CLAIM_RENEWED_LATE if stored.lapsed else Row.CLAIM_RENEWED, ours, "yes")
        case Working() if not stored.lapsed:
            return Step(Row.CLAIM_HELD, stored, "held")
        case Working() if (replay, attempt) < (stored.replay, stored.attempt):
            return Step(Row.CLAIM_STALE_LAPSED, stored, "stale")
        case Working():
            return Step(Row.CLAIM_TAKEOVER, ours, "yes", "takeovers")
        case Passed() if (replay, attempt) < (stored.replay, _above_all(stored.n)):
            return Step(Row.CLAIM_STALE_HANDED_ON, stored, "stale")
        case Passed():
            return Step(Row.CLAIM_HANDED_ON, ours, "yes")
    raise AssertionError(f"no record of ours: {stored!r}")


def done(stored: Record, token: str, body: str, outcome: str) -> Step:
    record = Done(body, outcome)
    if _holds(stored, token):
        return Step(Row.DONE_OURS, record)
    if stored == record:
        return Step(Row.DONE_AGAIN, record)
    return Step(Row.DONE_LOST, record, counted="lease_lost")


def forwarded(stored: Record, token: str, replay: int, n: Forwarded) -> Step:
    if isinstance(stored, Working) and stored.token == token:
        return Step(Row.HANDED_ON_OURS, Passed(n, replay, stored.body))
    if isinstance(stored, Passed) and (stored.n, stored.replay) == (n, replay):
        return Step(Row.HANDED_ON_AGAIN, stored)
    return Step(Row.HANDED_ON_LOST, stored, counted="lease_lost")


def release(stored: Record, token: str) -> Step:
    if isinstance(stored, Working) and stored.token == token:
        return Step(Row.RELEASE_OURS, Passed(stored.attempt, stored.replay, stored.body))
    return Step(Row.RELEASE_LOST, stored, counted="lease_lost")


def lapse(stored: Working) -> Working:
    """Lets the lease run out."""
    return replace(stored, lapsed=True)


def _holds(stored: Record, token: str) -> bool:
    return isinstance(stored, Working) and stored.token == token


def _above_all(n: Forwarded) -> float:
    return float("inf") if n == END else n
