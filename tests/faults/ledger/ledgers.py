"""Holds all records of a scenario: those of the load, the providers, failed.queue, the broker and the workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from tests.faults.devices.record import DeviceRecord, Made

#: one message: (channel, request_id). A notification for two channels is two messages.
Key = tuple[str, str]


def key_of(body: bytes) -> Key | None:
    """Returns which message a body in a queue says it is, or None if it names none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or not isinstance(document.get("request_id"), str):
        return None
    return str(document.get("notification_type")), document["request_id"]


#: the reasons in failed.queue for which a retry cannot help
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
        "user_invalid",
        "recipient_invalid",
        "payload_rejected",
    }
)

#: the product's counters of events that explain a second send
EXPLAINING = ("takeovers", "lease_lost", "state_lost", "marker_lost", "ambiguous")


@dataclass(frozen=True, slots=True)
class Call:
    """Records one call that a provider accepted. Times are Unix seconds; ``ended_at`` is None if
    it was never answered.
    """

    key: Key
    target: str
    provider: str
    at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """Records one message in failed.queue. ``key`` is None if its body names none."""

    key: Key | None
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Records one HTTP request of the load or of a probe. ``status`` is 0 if there was no answer."""

    what: str
    status: int
    seconds: float
    at: float
    #: the header of that name, if any
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """Records what one process held before and after: file descriptors, threads, resident memory in MB."""

    process: str
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass
class Ledgers:
    """Holds A, T, P, S, X and Q of one scenario, and everything else that its promises are checked with."""

    #: A: answered 202, or confirmed when published directly
    accepted: set[Key] = field(default_factory=set)
    #: T: sent to the gateway or to the broker, with any answer
    attempted: set[Key] = field(default_factory=set)
    #: P: accepted by a provider
    calls: list[Call] = field(default_factory=list)
    #: S: not sent by the recipient's own choice
    skipped: set[Key] = field(default_factory=set)
    #: X: in failed.queue
    failed: list[Entry] = field(default_factory=list)
    #: Q: messages that the broker still holds, by queue, without failed.queue; held dead letters are included
    held: Counter[str] = field(default_factory=Counter)
    #: every call that reached a provider, accepted or not
    tries: Counter[Key] = field(default_factory=Counter)
    #: the product's counters, summed over all processes, dead and alive
    counted: Counter[str] = field(default_factory=Counter)
    answers: list[Answer] = field(default_factory=list)
    resources: list[Resources] = field(default_factory=list)
    #: what the devices that show inboxes were sent
    devices: list[DeviceRecord] = field(default_factory=list)
    #: the changes of their inboxes, as far as the rows still show them
    changes: list[Made] = field(default_factory=list)
    #: what is wrong in the inboxes themselves
    inbox_faults: list[str] = field(default_factory=list)
    #: how long the process that runs the devices was held up at most, seconds
    stalled_s: float = 0.0
    #: when the fault was over, and when every queue was empty; Unix seconds
    healed_at: float = 0.0
    drained_at: float | None = None

    @property
    def delivered(self) -> set[Key]:
        return {call.key for call in self.calls}

    @property
    def ended(self) -> set[Key]:
        """Returns P, S and X together: every message that has come to a visible end."""
        return self.delivered | self.skipped | {entry.key for entry in self.failed if entry.key}

    @property
    def missing(self) -> set[Key]:
        """Returns the messages that were accepted and have no end."""
        return self.accepted - self.ended

    @property
    def lost(self) -> int:
        """Counts the messages of ``missing`` that the broker does not hold either. Messages in the broker are counted,
        not named.
        """
        return max(0, len(self.missing) - sum(self.held.values()))

    @property
    def doubles(self) -> int:
        """Counts the accepted calls beyond the first to the same target of the same message."""
        return len(self.calls) - len({(call.key, call.target) for call in self.calls})

    @property
    def explained(self) -> int:
        return sum(self.counted[name] for name in EXPLAINING)
