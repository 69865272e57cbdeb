"""Models the Redis scripts as pure functions on the model's records."""

from __future__ import annotations

from typing import Literal

from tests.models.claims.rules import Rules
from tests.models.claims.state import END, Copy, Handler, Record

Answer = Literal["yes", "reused", "duplicate", "held", "stale"]


def claim(rules: Rules, stored: Record | None, holds: bool, copy: Copy) -> tuple[Answer, Record | None]:
    ours = Record("P", copy.life, copy.attempt, copy.body)
    if stored is None:
        return "yes", ours
    if stored.body != copy.body:
        return "reused", stored
    if stored.kind == "D":
        return "duplicate", stored
    if stored.kind == "P":
        return "yes" if holds else "held", stored
    here, floor = ordered(rules, copy.life, copy.attempt), ordered(rules, stored.life, stored.attempt)
    if here < floor:
        return "stale", stored
    if here > floor and here[0] == floor[0] and rules.above != "claimed":
        return "held" if rules.above == "to ladder" else "stale", stored
    return "yes", ours


def ordered(rules: Rules, life: int, attempt: int) -> tuple[int, int]:
    return (life if rules.life_first else 0, attempt)


def record_forward(rules: Rules, stored: Record | None, holds: bool, copy: Copy, n: int) -> Record | None:
    new = Record("F", copy.life, n, copy.body)
    if holds or rules.record_over == "anything":
        return new
    if rules.record_over == "nothing or lower":
        if stored is None:
            return new
        if stored.kind == "F" and stored.body == copy.body and (stored.life, stored.attempt) < (copy.life, n):
            return new
    return stored


def record_done(rules: Rules, stored: Record | None, holds: bool, copy: Copy) -> Record | None:
    return Record("D", 0, 0, copy.body) if holds or rules.done_over == "anything" else stored


def released(rules: Rules, copy: Copy) -> Record | None:
    return Record("F", copy.life, copy.attempt, copy.body) if rules.release == "own attempt" else None


def lapsed(rules: Rules, stored: Record) -> Record | None:
    return stored._replace(kind="F") if rules.lapsed_reads == "handed on" else None


def floor_after(rules: Rules, handler: Handler) -> int:
    """Returns the first attempt of this life that may be claimed once the handler's outcome is recorded."""
    match handler.outcome:
        case "retry":
            return handler.copy.attempt + 1
        case "dead" | "ended unclaimed":
            return END if rules.end_is_final else handler.copy.attempt + 1
    return handler.copy.attempt
