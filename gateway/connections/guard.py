"""Cuts connections that take a place and give nothing back.

The server waits without end for a body, and its only time-out of a head also ends idle keep-alive connections. So once
a second a thread looks at every connection of the process and cuts it

1. ``head``: if it has not brought a whole head HEAD_S after it began or after the first byte of a request;
2. ``request``: if a request has not arrived completely ``receive_s`` after its first byte;
3. ``answer``: if its client has taken nothing of an answer for ANSWER_S;
4. ``crowded``: if more than nine tenths of the allowed connections exist, those that have been idle for longest.

The server does not tell a thread which connection its request came on. A connection is matched to a request by the
peer's address and by time, and when in doubt it is left alone for ``receive_s``.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from gateway.connections.progress import Progress, Request
from gateway.connections.sockets import SUPPORTED, Sight, connections, cut

HEAD_S = 5.0
ANSWER_S = 30.0
#: How often the connections are looked at, in seconds.
_LOOK_S = 1.0
#: A first byte is noticed up to this much later than it came, or its request begins this much later, in seconds.
_BLUR_S = 2 * _LOOK_S
#: Idle connections are cut above the first share of the allowed connections, until the second is left.
_CROWDED, _ROOMY = 0.9, 0.8
#: A connection that is idle for less than this may be between two requests, in seconds.
_IDLE_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Unanswered:
    """Remembers since when (monotonic) a connection waits for an answer, and what had been sent on it by then."""

    since: float
    sent_segments: int


class Guard:
    """Applies the rules above. ``count`` is called with the rule's name for each connection that is cut."""

    def __init__(
        self,
        port: int,
        progress: Progress,
        count: Callable[[str], None],
        *,
        receive_s: float,
        most_connections: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port, self._progress, self._count = port, progress, count
        self._receive_s, self._most = receive_s, most_connections
        self._clock = clock
        self._unanswered: dict[int, _Unanswered] = {}
        self._full = False

    def start(self) -> None:
        """Starts the thread, or logs that this system does not allow for it."""
        if SUPPORTED:
            threading.Thread(target=self._run, name="connection guard", daemon=True).start()
        else:
            log.warning("connections_not_guarded", why="it needs Linux; put a proxy with time-outs in front")

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            try:
                self.look()
            except Exception:
                log.exception("guarding_failed")

    def look(self) -> None:
        """Looks at all connections once."""
        seen = list(connections(self._port))
        cuts = Counter(rule for sight, rule in self.judge(seen, self._progress.requests()) if cut(sight))
        for rule, number in cuts.items():
            for _ in range(number):
                self._count(rule)
        if cuts:
            log.warning("connections_cut", connections=len(seen), **cuts)
        full = len(seen) >= self._most
        if full and not self._full:
            log.error("connections_exhausted", connections=len(seen), setting="GATEWAY_CONNECTIONS")
        self._full = full

    def judge(self, seen: Iterable[Sight], requests: Iterable[Request]) -> list[tuple[Sight, str]]:
        """Returns the connections to cut, each with the name of its rule."""
        now, requests = self._clock(), list(requests)
        sights = list(seen)
        before, self._unanswered = self._unanswered, {}
        guilty: list[tuple[Sight, str]] = []
        idle: list[Sight] = []
        for sight in sights:
            if sight.received_bytes == 0:
                if sight.received_age_s > HEAD_S:
                    guilty.append((sight, "head"))
            elif sight.sent_segments == 0 or sight.received_age_s < sight.sent_age_s:
                waiting = before.get(sight.inode)
                if waiting is None or waiting.sent_segments != sight.sent_segments:
                    waiting = _Unanswered(now - sight.received_age_s, sight.sent_segments)
                self._unanswered[sight.inode] = waiting
                if (rule := self._overdue(sight.address, waiting.since, now, requests)) is not None:
                    guilty.append((sight, rule))
            elif sight.unsent_bytes:
                if sight.sent_age_s > ANSWER_S:
                    guilty.append((sight, "answer"))
            elif self._awaited(sight, now, requests):
                guilty.append((sight, "request"))
            elif sight.received_age_s > _IDLE_S:
                idle.append(sight)
        if len(sights) > self._most * _CROWDED:
            idle.sort(key=lambda sight: sight.received_age_s, reverse=True)
            spare = len(sights) - len(guilty) - round(self._most * _ROOMY)
            guilty += [(sight, "crowded") for sight in idle[: max(0, spare)]]
        return guilty

    def _overdue(self, address: str, since: float, now: float, requests: Iterable[Request]) -> str | None:
        """Returns the broken rule of a connection that waits for an answer since ``since``, or None."""
        age_s = now - since
        if age_s <= min(HEAD_S, self._receive_s):
            return None
        # A request whose head was complete before the first byte came belongs to another connection, unless its client
        # waited for "100 Continue", which is counted as an answer here.
        possible = [
            each
            for each in requests
            if each.address == address and each.since >= since - (self._receive_s if each.reading else _BLUR_S)
        ]
        if not possible:
            return "head"
        in_hand = any(not each.reading and each.since <= since + HEAD_S + _BLUR_S for each in possible)
        return "request" if age_s > self._receive_s and not in_hand else None

    def _awaited(self, sight: Sight, now: float, requests: Iterable[Request]) -> bool:
        """Tells whether a body is overdue of which nothing has come since the server sent "100 Continue"."""
        return any(
            each.reading
            and each.address == sight.address
            and now - each.since > self._receive_s
            and abs(now - each.since - sight.sent_age_s) <= _BLUR_S
            for each in requests
        )
