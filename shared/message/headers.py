"""Writes and reads the AMQP headers that travel with an envelope; the envelope's bytes never change.

Headers are always built anew from these fields: a copied ``x-death`` makes RabbitMQ drop the message or keep it from
moving on, and a copied ``expiration`` shortens its waits. An unreadable header reads as its default, because a program
that publishes directly to a queue need not set any of them. So does a count that this product could not have written:
any program can copy headers, or write them itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.clock import now_ms
from shared.message.identity import CLIENT_PATTERN

#: Longest error text in a header, bytes: a text of 140 kB made the broker close the connection.
ERROR_BYTES = 1024
#: Longest text that is accepted as a time, characters.
_TIME_CHARS = 64
#: Exclusive upper bound of a count: one more must fit into an AMQP long, and Redis' Lua counts exactly up to here only.
_MOST = 2**53 - 1
#: The largest count of attempts, as it is the largest that ``MAX_ATTEMPTS_<CHANNEL>`` accepts.
MOST_ATTEMPTS = 1_000
#: The largest count of redeliveries that is written. A message is dead-lettered from 8 on (``shared/worker/poison``),
#: but a copy that another one's claim keeps from being handled may be redelivered up to 20 times more.
MOST_REDELIVERIES = 28
#: A replay is the time of an operator's order, ms. No clock is ahead by more than this: a later number is not ours, and
#: if it were believed, every real replay would be below it and be dropped as a stale copy.
_AHEAD_MS = 10 * 365 * 86_400_000
_CLIENT = re.compile(CLIENT_PATTERN)


@dataclass(slots=True)
class DeliveryState:
    """Holds a message's attempt, deferrals, replay and timestamps. Times are RFC 3339 strings, '' if unknown.

    Nothing changes it. It is not declared frozen, because to build a frozen object of ten fields takes 2 us.
    """

    accepted_at: str = ""
    attempt: int = 0
    deferrals: int = 0
    replay: int = 0
    first_attempt_at: str = ""
    last_error: str = ""
    #: Whether an operator replayed it although its ``expires_at`` had passed.
    ignore_expiry: bool = False
    #: How often it was delivered and not settled, up to its last way to the ladder without a claim.
    redeliveries: int = 0
    #: The sender in whose namespace the request_id is, '' if it is not known.
    client: str = ""
    #: Whether it went to the ladder although no delivery of it had ever been claimed: Redis has no record of it.
    unclaimed: bool = False

    def to_headers(self) -> dict[str, Any]:
        headers: dict[str, Any] = {
            "notify-accepted-at": self.accepted_at,
            "notify-attempt": self.attempt,
            "notify-deferrals": self.deferrals,
            "notify-replay": self.replay,
        }
        if self.first_attempt_at:
            headers["notify-first-attempt-at"] = self.first_attempt_at
        if self.last_error:
            headers["notify-last-error"] = cut(self.last_error)
        if self.ignore_expiry:
            headers["notify-ignore-expiry"] = True
        if self.redeliveries:
            headers["notify-redeliveries"] = min(self.redeliveries, MOST_REDELIVERIES)
        if self.client:
            headers["notify-client"] = self.client
        if self.unclaimed:
            headers["notify-unclaimed"] = True
        return headers


def read_state(headers: Mapping[str, Any] | None) -> DeliveryState:
    """Reads the state from headers; a missing header, or one of another type, reads as its default."""
    fields = {}
    # The usual message has the first four of ten headers: it costs less to look at those that are there.
    for name, value in (headers or {}).items():
        reader = _READERS.get(name)
        if reader is not None:
            fields[reader[0]] = reader[1](value)
    return DeliveryState(**fields)


def read_redeliveries(headers: Mapping[str, Any]) -> int:
    """Returns the count of redeliveries that travelled with the message."""
    return _redeliveries(headers.get("notify-redeliveries"))


def has_unreadable_client(headers: Mapping[str, Any]) -> bool:
    """Tells whether there is a header ``notify-client`` that names no client.

    It must not be passed over: without it, the message would have another identity than its sender meant.
    """
    return "notify-client" in headers and headers["notify-client"] != _client(headers["notify-client"])


def cut(text: str, most_bytes: int = ERROR_BYTES) -> str:
    """Returns ``text`` cut to ``most_bytes`` of UTF-8; a character without UTF-8 (a lone surrogate) becomes ``?``."""
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


def _count(value: Any, most: int = _MOST - 1) -> int:
    # RabbitMQ delivers integers as long or short; a bool is an int to Python but not a count.
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else 0


def _replay(value: Any) -> int:
    count = _count(value)
    # The usual message was never replayed: the clock is read only for the others.
    return count if not count or count <= now_ms() + _AHEAD_MS else 0


def _client(value: Any) -> str:
    return value if isinstance(value, str) and _CLIENT.fullmatch(value) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(value: Any) -> str:
    # It travels on unchanged, so it must not be long: the frame with all headers has an upper limit.
    return value if isinstance(value, str) and len(value) <= _TIME_CHARS else ""


def _attempt(value: Any) -> int:
    return _count(value, MOST_ATTEMPTS)


def _redeliveries(value: Any) -> int:
    return _count(value, MOST_REDELIVERIES)


def _flag(value: Any) -> bool:
    return value is True


#: the field of DeliveryState that each header holds, and the function that reads it
_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "notify-accepted-at": ("accepted_at", _time),
    "notify-attempt": ("attempt", _attempt),
    "notify-deferrals": ("deferrals", _count),
    "notify-replay": ("replay", _replay),
    "notify-first-attempt-at": ("first_attempt_at", _time),
    "notify-last-error": ("last_error", _text),
    "notify-ignore-expiry": ("ignore_expiry", _flag),
    "notify-redeliveries": ("redeliveries", _redeliveries),
    "notify-client": ("client", _client),
    "notify-unclaimed": ("unclaimed", _flag),
}
