"""Lists what the product could do where the rules of the claims leave a choice, or where careless code would err."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rules:
    """Chooses one behaviour per field; the defaults are what the code does."""

    #: a copy is compared with the last forward by its life first; else by its attempt alone
    life_first: bool = True
    #: the answer to a copy above the last forward
    above: Literal["claimed", "to ladder", "stale"] = "claimed"
    #: after a dead end no attempt of this life may be claimed; else the next one may
    end_is_final: bool = True
    #: the records over which a finished forward is recorded
    record_over: Literal["own claim", "nothing or lower", "anything"] = "own claim"
    #: a copy without a claim (claimed elsewhere, request_id reused) records its forward
    unclaimed_records: bool = False
    #: a copy that meets another's lease may be ended instead of sent to the ladder (its life is over, for example)
    unclaimed_ends: bool = False
    #: the record that a release leaves behind
    release: Literal["own attempt", "nothing"] = "own attempt"
    #: after a release that was not answered, and may still arrive, the message is claimed under another token
    fresh_token_after_lost_release: bool = True
    #: what a stopping worker does with the claims of work that it must cut short
    stop: Literal["leave", "release untried"] = "leave"
    #: the claim is repeated while a publish is repeated
    renew: bool = True
    #: what happens to a copy whose claim is held by a handler of the same process
    held_here: Literal["waits unless its forward fails", "waits", "to ladder"] = "waits unless its forward fails"
    #: what happens to work whose delivery can no longer be acked
    channel_lost: Literal["goes on", "unclaimed given up", "given up and released", "given up"] = "unclaimed given up"
    #: how a claim is read once its lease has run out
    lapsed_reads: Literal["handed on", "nothing"] = "handed on"
    #: the records over which an acceptance is recorded
    done_over: Literal["anything", "own claim"] = "anything"
    #: before a send the claim is repeated if its lease may not cover the send
    recheck: bool = True
    #: what happens to a copy that meets another's running lease
    held: Literal["to ladder", "dropped"] = "to ladder"
    #: the forward is recorded before the broker has the message
    record_first: bool = False
    #: the copy is acked before it is forwarded
    ack_first: bool = False


#: Each breaks a promise within the quick scenarios. Its name says what is wrong.
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

#: Other rules that keep every promise; they are only slower, or record less in Redis.
HARMLESS: dict[str, Rules] = {
    "a copy above the record goes to the ladder": Rules(above="to ladder"),
    "a hand-on is recorded over nothing and over a lower one": Rules(record_over="nothing or lower"),
    "copies without a claim record too": Rules(record_over="nothing or lower", unclaimed_records=True),
    "a yes is recorded over its own claim only": Rules(done_over="own claim"),
    "a copy held here goes to the ladder": Rules(held_here="to ladder"),
    "a copy held here waits for a forward that fails": Rules(held_here="waits"),
    "a copy without a claim is forwarded although its channel is lost": Rules(channel_lost="goes on"),
    "a stop releases what was not tried": Rules(stop="release untried"),
}


def with_rules(**changes: object) -> Rules:
    """Returns the code's rules with these changes."""
    return replace(Rules(), **changes)  # type: ignore[arg-type]
