"""What the product could do wherever the rules of the claims leave a choice, or where careless code would take one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rules:
    """The defaults are what the code does."""

    #: a copy is compared with what was handed on by its life first; else by its attempt alone
    life_first: bool = True
    #: a copy above what was handed on
    above: Literal["claimed", "to ladder", "stale"] = "claimed"
    #: after a dead end no attempt of this life may be claimed; else the next one may
    end_is_final: bool = True
    #: where a finished hand-on is recorded
    record_over: Literal["own claim", "nothing or lower", "anything"] = "own claim"
    #: a copy without a claim (claimed elsewhere, id reused) records its hand-on
    unclaimed_records: bool = False
    #: a copy that meets another's lease may be ended instead of sent to the ladder (its life is over, say)
    unclaimed_ends: bool = False
    #: what a release leaves behind
    release: Literal["own attempt", "nothing"] = "own attempt"
    #: a release that was not answered may still travel: the message is claimed under another token from then on
    fresh_token_after_lost_release: bool = True
    #: what a worker that stops does with the claims of work it must cut short
    stop: Literal["leave", "release untried"] = "leave"
    #: the claim is repeated while a hand-on is repeated
    renew: bool = True
    #: a copy whose claim is held by a handler of the same process
    held_here: Literal["waits", "to ladder"] = "waits"
    #: work whose delivery can no longer be acked
    channel_lost: Literal["goes on", "given up and released", "given up"] = "goes on"
    #: how a claim reads whose lease has run out
    lapsed_reads: Literal["handed on", "nothing"] = "handed on"
    #: where a yes is recorded
    done_over: Literal["anything", "own claim"] = "anything"
    #: before a send the claim is repeated if its lease may not cover it
    recheck: bool = True
    #: what a copy does that meets another's running lease
    held: Literal["to ladder", "dropped"] = "to ladder"
    #: the hand-on is recorded before the broker has it
    record_first: bool = False
    #: the copy is acked before it is handed on
    ack_first: bool = False


#: Each breaks a promise within the quick scenarios. A name says what is wrong.
MUTANTS: dict[str, Rules] = {
    "lives do not count in the order": Rules(life_first=False),
    "a copy above the record is stale": Rules(above="stale", record_over="nothing or lower"),
    "after a dead end the next attempt may be claimed": Rules(end_is_final=False),
    "a hand-on is recorded over anything": Rules(record_over="anything"),
    "copies without a claim record over anything": Rules(record_over="anything", unclaimed_records=True),
    "copies without a claim end lives": Rules(unclaimed_ends=True),
    "a release deletes the record": Rules(release="nothing"),
    "the same token after a lost release": Rules(fresh_token_after_lost_release=False),
    "claims are not renewed during a hand-on": Rules(renew=False),
    "work is given up with its channel, the claim released": Rules(channel_lost="given up and released"),
    "work is given up with its channel": Rules(channel_lost="given up"),
    "a lapsed claim reads as nothing": Rules(lapsed_reads="nothing"),
    "sending without another look at the claim": Rules(recheck=False),
    "a held copy is dropped": Rules(held="dropped"),
    "recorded before it was handed on": Rules(record_first=True),
    "acked before it was handed on": Rules(ack_first=True),
}

#: Other readings that keep every promise; they are only slower, or say less in Redis.
HARMLESS: dict[str, Rules] = {
    "a copy above the record goes to the ladder": Rules(above="to ladder"),
    "a hand-on is recorded over nothing and over a lower one": Rules(record_over="nothing or lower"),
    "copies without a claim record too": Rules(record_over="nothing or lower", unclaimed_records=True),
    "a yes is recorded over its own claim only": Rules(done_over="own claim"),
    "a copy held here goes to the ladder": Rules(held_here="to ladder"),
    "a stop releases what was not tried": Rules(stop="release untried"),
}


def with_rules(**changes: object) -> Rules:
    """The code's rules but for ``changes``."""
    return replace(Rules(), **changes)  # type: ignore[arg-type]
