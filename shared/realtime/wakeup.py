"""Tells the nodes that an inbox has changed, by a message on the Redis channel of its user.

::

    <epoch> <offset before> <offset after>\\n
    <one native frame>\\n                           as many as the change has, in the order of their offsets

A wake-up is a hint: it may be lost, doubled or late, because a node compares offsets and reads the rows that it lacks.
So a wake-up is sent once, after the commit, and nobody waits for Redis longer than its timeout. A *bare* wake-up has no
frames: a node that hears it reads the rows. It stands for a change without rows, and for one that is too large.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import redis
import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from shared.errors import RedisUnavailable
from shared.metrics import Metrics
from shared.realtime import frames
from shared.redis.batch import Batcher
from shared.store.values import Change, Owner

log = structlog.get_logger(__name__)

#: Largest wake-up, bytes; a larger change is announced without its frames.
LARGEST = 32 * 1024
CHANNEL_PREFIX = "notify-inbox:"

_SCRIPT = (Path(__file__).parent / "wake.lua").read_text()
#: Most wake-ups of one call: Redis serves no other client while the script runs.
_AT_ONCE = 128


class Wakeup(NamedTuple):
    """Says that an inbox went from offset ``prev`` to ``to`` in ``epoch``; ``frames`` is empty if it is bare."""

    epoch: str
    prev: int
    to: int
    frames: list[bytes]


def channel_of(owner: Owner) -> str:
    """Returns the Redis channel on which the wake-ups of this user are published."""
    return f"{CHANNEL_PREFIX}{owner.tenant}:{owner.user_id}"


def owner_of(channel: str) -> Owner:
    """Returns the user to whom a channel of wake-ups belongs. A tenant has no colon; a user_id may have some."""
    tenant, _, user_id = channel.removeprefix(CHANNEL_PREFIX).partition(":")
    return Owner(user_id, tenant)


def encode(change: Change) -> bytes:
    """Returns the wake-up of one committed change."""
    head = f"{change.epoch} {change.prev} {change.to}".encode()
    wakeup = b"\n".join([head, *frames.of_change(change), b""])
    return wakeup if len(wakeup) <= LARGEST else head + b"\n"


def parse(body: bytes) -> Wakeup:
    """Reads a wake-up. Raises ValueError if it is none; compare the positions then."""
    head, *lines = body.split(b"\n")
    epoch, prev, to = head.split(b" ")
    return Wakeup(epoch.decode("ascii"), int(prev), int(to), [line for line in lines if line])


class WakeUps:
    """Publishes wake-ups from an asyncio loop; those of one batch travel in one call of Redis."""

    def __init__(self, redis: Batcher, metrics: Metrics) -> None:
        self._wake = redis.script(_SCRIPT)
        self._failures = _Failures(metrics.wakeups_failed)

    async def publish(self, changes: Sequence[Change]) -> None:
        """Publishes one wake-up per change. Raises nothing: what could not be published is counted."""
        calls = [self._wake.call(channel_of(change.owner).encode(), encode(change)) for change in changes]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        unavailable = [answer for answer in answers if isinstance(answer, RedisUnavailable)]
        self._failures.note(len(unavailable), unavailable[0] if unavailable else None)


class ThreadedWakeUps:
    """Publishes wake-ups from any thread, with a client of redis-py."""

    def __init__(self, client: redis.Redis, failed: Counter) -> None:
        """``failed`` counts the wake-ups that could not be published."""
        self._wake = client.register_script(_SCRIPT)
        self._failures = _Failures(failed)

    def publish(self, changes: Sequence[Change]) -> None:
        """Publishes one wake-up per change. Raises nothing: what could not be published is counted."""
        for first in range(0, len(changes), _AT_ONCE):
            some = changes[first : first + _AT_ONCE]
            try:
                self._wake(keys=[channel_of(change.owner) for change in some], args=[encode(change) for change in some])
            except RedisError as exc:
                self._failures.note(len(changes) - first, exc)
                return
        self._failures.note(0, None)


class _Failures:
    """Counts the wake-ups that could not be published, and logs one line when that begins and one when it ends."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._failing = False

    def note(self, failed: int, error: Exception | None) -> None:
        if failed:
            self._counter.inc(failed)
        if error is not None and not self._failing:
            log.warning("wakeups_not_published", error=str(error) or repr(error))
        elif error is None and self._failing:
            log.info("wakeups_published_again")
        self._failing = error is not None
