"""Implements the mode paused: holds messages, knows the causes that stop a channel, and probes for their end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from shared.broker.incoming import Incoming
from shared.errors import RedisUnavailable
from shared.idempotency.claims import Claims
from shared.message.channels import Lane
from shared.message.outcome import HoldCause
from shared.metrics import Metrics
from shared.worker.executor import Executor
from shared.worker.handler import Handler
from shared.worker.poison import is_suspect
from shared.worker.signals import Signals
from shared.worker.supply import Supply

log = structlog.get_logger(__name__)

#: Longest time that a stopping worker spends on forwarding the messages that it holds, seconds.
FORWARD_HELD_S = 5.0


@dataclass(frozen=True, slots=True)
class HeldMessage:
    incoming: Incoming
    cause: HoldCause


class Held:
    """Keeps the messages that wait in this process for the end of a cause: unacked, without a claim, oldest first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept: deque[HeldMessage] = deque()
        self._clock = clock

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, incoming: Incoming, cause: HoldCause) -> None:
        """Holds a message. Its age counts from the first time it was held, as does the broker's ack timeout."""
        if incoming.held_since is None:
            incoming.held_since = self._clock()
        self._kept.append(HeldMessage(incoming, cause))

    def by_lane(self) -> Counter[Lane]:
        """Returns the number of held messages for each lane."""
        return Counter(kept.incoming.lane for kept in self._kept)

    def take_probe(self, cause: HoldCause, *, again: bool = False) -> HeldMessage | None:
        """Takes a message held for ``cause``, from the most urgent lane, to try whether the cause is over.

        Returns None if there is none. ``again``: take one that has been tried before, instead of one that has not.
        """
        fitting = [kept for kept in self._kept if kept.cause == cause and kept.incoming.probed is again]
        if not fitting:
            return None
        rank = {"high": 0, "medium": 1, "low": 2}
        kept = min(fitting, key=lambda kept: rank[kept.incoming.lane.priority])
        self._kept.remove(kept)
        return kept

    def take_older_than(self, age_s: float) -> list[HeldMessage]:
        """Takes the messages that have been held for longer than ``age_s`` seconds."""
        before = self._clock() - age_s
        old = [kept for kept in self._kept if (kept.incoming.held_since or 0.0) < before]
        self._kept = deque(kept for kept in self._kept if kept not in old)
        return old

    def forget_void(self) -> None:
        """Drops the messages whose AMQP channel is closed, because the broker redelivers them."""
        self._kept = deque(kept for kept in self._kept if not kept.incoming.is_void)

    def take_all(self) -> list[HeldMessage]:
        kept, self._kept = list(self._kept), deque()
        return kept


class Waitable(Protocol):
    """Describes what a whole channel may have to wait for: the providers, the users, the templates."""

    def retry_in_s(self) -> float:
        """Returns the seconds until one call may be tried; 0 if it may be tried now."""

    @property
    def is_open(self) -> bool:
        """Tells whether calls are refused, or only probes have been admitted since calls were last refused."""


class Blockers:
    """Tells a paused worker whether the cause of its pause may be over.

    It pings Redis (through ``claims``); the other causes report their state without a call.
    """

    def __init__(self, providers: Waitable, directory: Waitable, templates: Waitable, claims: Claims) -> None:
        self._waitable: dict[HoldCause, Waitable] = {
            "provider": providers,
            "users": directory,
            "templates": templates,
        }
        self._claims = claims

    async def may_probe(self, cause: HoldCause) -> bool:
        """Tells whether it makes sense to try one message."""
        waitable = self._waitable.get(cause)
        if waitable is not None:
            return waitable.retry_in_s() <= 0
        try:
            await self._claims.ping()
        except RedisUnavailable:
            return False
        return True

    def is_over(self, cause: HoldCause) -> bool:
        """Tells whether all lanes may flow again.

        Call it after a successful probe, or when there was no message to try.
        """
        waitable = self._waitable.get(cause)
        return waitable is None or not waitable.is_open


class Pause:
    """Runs the mode paused, and forwards messages held for longer than ``hold_s`` seconds to the retry ladder.

    ``probe_s``: seconds between two checks whether the cause is over. ``finish_s``: longest wait for running handlers
    before a suspect is tried, seconds.
    """

    def __init__(
        self,
        channel: str,
        executor: Executor,
        held: Held,
        supply: Supply,
        signals: Signals,
        handler: Handler,
        blockers: Blockers,
        metrics: Metrics,
        *,
        probe_s: float,
        hold_s: float,
        finish_s: float,
    ) -> None:
        self._channel = channel
        self._executor = executor
        self._held = held
        self._supply = supply
        self._signals = signals
        self._handler = handler
        self._blockers = blockers
        self._gauge = metrics.paused.labels(channel)
        self._probe_s, self._hold_s, self._finish_s = probe_s, hold_s, finish_s
        self._active = False

    @property
    def active(self) -> bool:
        """Tells whether the worker is paused now."""
        return self._active

    async def run(self) -> Literal["careful", "wide"]:
        """Takes only probes until the cause is over; returns the next mode."""
        signals = self._signals
        self._executor.stop_starting()
        await self._supply.cancel()
        self._set_active(True)
        try:
            while signals.calm:
                cause = signals.cause or "provider"
                self._hold_waiting(cause)
                self._forward_old()
                if await self._blockers.may_probe(cause) and await self._probe(cause):
                    return "wide"
                # A probe sets the wake signal too (it is held again, or a lane is broken): that must not start
                # another probe.
                signals.forget_wakes()
                if signals.calm:
                    await signals.wait(self._probe_s)
        finally:
            self._set_active(False)
        return "careful"

    async def forward_held(self) -> None:
        """Sends every held message to the retry ladder, for at most FORWARD_HELD_S seconds.

        If they were requeued instead, each stop during an outage would bring a message nearer to its delivery limit.
        """
        kept = self._held.take_all()
        if kept:
            forwarding = asyncio.gather(*map(self._forward, kept), return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FORWARD_HELD_S):
                    await forwarding

    def _hold_waiting(self, cause: HoldCause) -> None:
        """Holds the delivered messages that need what is unavailable, and starts those that do not."""
        for incoming in self._executor.take_waiting():
            if self._handler.waits_for(incoming, cause):
                self._held.keep(incoming, cause)
            else:
                self._executor.start(incoming)

    async def _probe(self, cause: HoldCause) -> bool:
        """Tries messages one at a time while they succeed; returns whether the cause is over."""
        while self._signals.calm:
            incoming = await self._next_probe(cause)
            if incoming is not None and is_suspect(incoming) and not await self._executor.clear(self._finish_s):
                # It may crash this process, and handlers still run: it is tried again later.
                self._held.keep(incoming, cause)
                return False
            if incoming is not None and await self._executor.handle_one(incoming) is not None:
                return False
            if self._blockers.is_over(cause):
                return True
            if incoming is None:
                return False
        return False

    async def _next_probe(self, cause: HoldCause) -> Incoming | None:
        """Returns a message to try, preferably one not tried before: one faulty message must not block the rest."""
        kept = self._held.take_probe(cause)
        incoming = kept.incoming if kept else None
        if incoming is None and self._executor.has_room:
            incoming = await self._supply.take_one()
        if incoming is None and (kept := self._held.take_probe(cause, again=True)) is not None:
            incoming = kept.incoming
        if incoming is not None:
            incoming.probed = True
        return incoming

    def _forward_old(self) -> None:
        for kept in self._held.take_older_than(self._hold_s):
            self._executor.forward(kept.incoming, kept.cause)

    async def _forward(self, kept: HeldMessage) -> None:
        await self._handler.requeue(kept.incoming, kept.cause)

    def _set_active(self, active: bool) -> None:
        self._active = active
        self._gauge.set(active)
        log.warning("paused" if active else "resumed", channel=self._channel, cause=self._signals.cause)
