"""What everybody wrote down while something broke: the load, the providers, failed.queue, the broker, the workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

#: one message: (channel, request_id). A notification for two channels is two of them.
Key = tuple[str, str]


def key_of(body: bytes) -> Key | None:
    """Which message a body in a queue says it is; None if it names none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or not isinstance(document.get("request_id"), str):
        return None
    return str(document.get("notification_type")), document["request_id"]


#: reasons in failed.queue that say: trying again cannot help
PERMANENT = frozenset(
    {
        "invalid_json",
        "invalid_envelope",
        "too_large",
        "wrong_channel",
        "request_id_reused",
        "user_not_found",
        "no_recipient",
        "template_not_found",
        "template_error",
        "recipient_invalid",
        "payload_rejected",
    }
)

#: our own counters of events that explain a second send
EXPLAINING = ("takeovers", "lease_lost", "state_lost", "marker_lost", "ambiguous")


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a provider accepted. Times are Unix seconds; ``ended_at`` is None if it never gave its answer."""

    key: Key
    target: str
    provider: str
    at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One message in failed.queue. ``key`` is None if its body names none."""

    key: Key | None
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP request of the load or of a probe. ``status`` is 0 if there was no answer."""

    what: str
    status: int
    seconds: float
    at: float
    #: the header of that name, if any
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """What one process held before and after: file descriptors, threads, resident memory in MB."""

    process: str
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass
class Ledgers:
    """A, T, P, S, X and Q of one scenario, and what else its promises are judged by."""

    #: A: answered 202, or confirmed when published directly
    accepted: set[Key] = field(default_factory=set)
    #: T: handed to the gateway or to the broker, whatever the answer
    attempted: set[Key] = field(default_factory=set)
    #: P: accepted by a provider
    calls: list[Call] = field(default_factory=list)
    #: S: not sent by the recipient's own choice
    skipped: set[Key] = field(default_factory=set)
    #: X: in failed.queue
    failed: list[Entry] = field(default_factory=list)
    #: Q: what the broker still holds, by queue, failed.queue aside; held dead letters included
    held: Counter[str] = field(default_factory=Counter)
    #: every call that reached a provider, accepted or not
    tries: Counter[Key] = field(default_factory=Counter)
    #: our own counters, summed over all processes, dead and alive
    counted: Counter[str] = field(default_factory=Counter)
    answers: list[Answer] = field(default_factory=list)
    resources: list[Resources] = field(default_factory=list)
    #: when the fault was over, and when every queue was empty; Unix seconds
    healed_at: float = 0.0
    drained_at: float | None = None

    @property
    def delivered(self) -> set[Key]:
        return {call.key for call in self.calls}

    @property
    def ended(self) -> set[Key]:
        """P, S and X: everything that has come to an end somebody can see."""
        return self.delivered | self.skipped | {entry.key for entry in self.failed if entry.key}

    @property
    def missing(self) -> set[Key]:
        """Accepted, and at no end."""
        return self.accepted - self.ended

    @property
    def lost(self) -> int:
        """Those of ``missing`` that the broker does not hold either. What it holds is counted, not named."""
        return max(0, len(self.missing) - sum(self.held.values()))

    @property
    def doubles(self) -> int:
        """Accepted calls beyond the first to the same target of the same message."""
        return len(self.calls) - len({(call.key, call.target) for call in self.calls})

    @property
    def explained(self) -> int:
        return sum(self.counted[name] for name in EXPLAINING)
