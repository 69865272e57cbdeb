"""The worker: drives one channel's lanes through four modes, and stops in good order.

careful   one message in hand in the whole process, lane by lane until one that is no suspect has been settled there or
          the lane is empty: what a crash has returned lies at the heads of the lanes, so a message that kills its
          process dies alone. Every start and reconnection begins here.
wide      all lanes flow. A suspect that turns up is set aside, and ends it.
alone     the lanes are cancelled, the rest is finished, then what was set aside is handled one by one. It is not given
          back: every return brings a message nearer to its limit, and two workers would pass it to and fro.
paused    nothing flows, because nothing could be delivered: one message at a time is tried until the cause is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from prometheus_client import Gauge

from shared.broker.channel import BROKER_FAILURES
from shared.broker.consumer import Consumer
from shared.broker.incoming import Incoming
from shared.message.channels import Lane, lanes_of
from shared.message.outcome import HoldCause
from shared.metrics import Metrics
from shared.settings.settings import Settings
from shared.worker.blockers import Blockers
from shared.worker.executor import Crew
from shared.worker.handler import Handler
from shared.worker.lanes import share_prefetch
from shared.worker.poison import is_suspect
from shared.worker.supply import Supply

log = structlog.get_logger(__name__)

#: pause after the broker refused something, so that a lasting fault does not become a hot loop, seconds
BREATH_S = 1.0
#: longest that a stopping worker tries to hand on what it holds, seconds
LET_GO_S = 5.0

#: a mode runs until something ends it and returns the next
_Mode = Callable[[], Awaitable[Any]]


class Worker:
    """One per process. ``run`` returns after ``stop``."""

    def __init__(
        self, channel: str, settings: Settings, handler: Handler, blockers: Blockers, metrics: Metrics, name: str
    ) -> None:
        self._channel = channel
        self._settings = settings
        self._blockers = blockers
        self._lanes = lanes_of(channel)
        self._crew = Crew(handler, settings.prefetch, self._hold)
        self._consumer = Consumer(
            settings.rabbitmq,
            name,
            lanes=self._lanes,
            levels_s=settings.retry_levels_s,
            on_delivery=self._deliver,
            on_trouble=self._trouble,
        )
        self._supply = Supply(self._consumer, share_prefetch(settings.prefetch, self._lanes))
        self._wake = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._lost = False
        #: suspects: delivered, unacked, untouched
        self._set_aside: deque[Incoming] = deque()
        self._cause: HoldCause | None = None
        self._paused = False
        self._paused_gauge: Gauge = metrics.paused.labels(channel)
        metrics.in_flight.labels(channel).set_function(lambda: self.in_flight)

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def in_flight(self) -> int:
        """Messages in hand: at work, waiting, held or set aside."""
        return self._crew.in_flight + len(self._set_aside)

    @property
    def broken_lanes(self) -> list[str]:
        """Queues of the lanes that do not flow although they should."""
        return [lane.queue for lane in self._lanes if lane in self._supply.broken]

    @property
    def broker_up(self) -> bool:
        return self._consumer.state != "down"

    def stop(self) -> None:
        """Ask ``run`` to finish what is in flight and return; safe from a signal handler."""
        self._stop_asked.set()
        self._wake.set()

    @property
    def _stopping(self) -> bool:
        return self._stop_asked.is_set()

    async def run(self) -> None:
        """Consume until ``stop``. Raises TopologyMismatch if a queue exists with other arguments."""
        self._consumer.start()
        drive = asyncio.create_task(self._drive())
        failed = asyncio.create_task(self._consumer.connection.wait_failed())
        stopped = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait((drive, failed, stopped), return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                raise failed.result()
            if drive.done():
                drive.result()
        finally:
            self._crew.stop_starting()
            for task in (drive, failed, stopped):
                task.cancel()
            await asyncio.gather(drive, failed, stopped, return_exceptions=True)
            await self._shut_down()

    async def _shut_down(self) -> None:
        await self._consumer.cancel()
        if not await self._crew.finish(self._settings.shutdown_s):
            log.warning("stopped_with_messages_in_hand", in_flight=self._crew.in_flight)
            await self._crew.abandon()
        await self._let_go_of_held()
        await self._consumer.close()

    async def _let_go_of_held(self) -> None:
        """Hand on what is held: given back, each stop during an outage would bring it nearer to its limit."""
        kept = self._crew.held.take_all()
        if kept and not self._lost:
            letting_go = asyncio.gather(*(self._crew.let_go(k.incoming, k.cause) for k in kept), return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LET_GO_S):
                    await letting_go

    async def _drive(self) -> None:
        mode: _Mode = self._careful
        while not self._stopping:
            try:
                if await self._until_up():
                    mode = self._careful
                mode = await mode()
            except BROKER_FAILURES as exc:
                log.warning("lanes_interrupted", channel=self._channel, error=str(exc) or repr(exc))
                self._crew.stop_starting()
                mode = self._careful
                await self._mend()

    async def _until_up(self) -> bool:
        """Whether the connection is another than before: whatever mode was next, it begins with care."""
        await self._consumer.wait_up()
        if not self._lost:
            return False
        self._lost = False
        # Not everything: a lane that was being mended may have brought something on the fresh connection already.
        self._set_aside = deque(incoming for incoming in self._set_aside if not incoming.is_void)
        self._crew.forget_void()
        await self._consumer.cancel()
        return True

    async def _mend(self) -> None:
        """After a refusal (a queue is missing, say): breathe, declare everything, begin again."""
        await asyncio.sleep(BREATH_S)
        with contextlib.suppress(*BROKER_FAILURES):
            await self._consumer.declare()

    # -- modes -----------------------------------------------------------------------------------------------

    async def _careful(self) -> _Mode:
        for lane in self._lanes:
            while not self._stopping and not self._lost:
                incoming = await self._supply.take(lane)
                if incoming is None:
                    break
                if await self._crew.handle_one(incoming) is not None:
                    return self._pause
                if not is_suspect(incoming):
                    break
        return self._wide

    async def _wide(self) -> _Mode:
        self._cause = None
        # Held messages do not count against a fresh consumer, so until they are through it gets that much less.
        held = self._crew.held.by_lane()
        drained = self._crew.resume_held() if held else None
        if drained is not None:
            drained.add_done_callback(lambda _: self._wake.set())
        self._crew.flow()
        await self._supply.flow(held)
        while not self._stopping and not self._lost:
            if self._set_aside:
                return self._alone
            if self._cause is not None:
                return self._pause
            if drained is not None and drained.done():
                drained = None
                await self._supply.widen(held)
            await self._woken(self._supply.mend_in_s())
            if self._supply.mend_in_s() == 0:
                await self._supply.mend()
        self._crew.stop_starting()
        return self._careful

    async def _alone(self) -> _Mode:
        log.warning("suspects_turned_up", channel=self._channel, count=len(self._set_aside))
        await self._consumer.cancel()
        await self._crew.finish(self._settings.shutdown_s)
        self._crew.stop_starting()
        while self._set_aside and not self._stopping and not self._lost:
            if await self._crew.handle_one(self._set_aside.popleft()) is not None:
                return self._pause
        return self._wide

    async def _pause(self) -> _Mode:
        self._crew.stop_starting()
        await self._consumer.cancel()
        self._set_paused(True)
        try:
            while not self._stopping and not self._lost:
                cause = self._cause or "provider"
                self._crew.hold_waiting(cause)
                await self._let_go_of_old()
                if await self._blockers.may_probe(cause) and await self._probe(cause):
                    return self._wide
                # A probe wakes us itself (it is held again, or a lane has no queue): that is no reason for another.
                self._wake.clear()
                if not (self._stopping or self._lost):
                    await self._woken(self._settings.pause_probe_s)
        finally:
            self._set_paused(False)
        return self._careful

    async def _probe(self, cause: HoldCause) -> bool:
        """Try messages one at a time for as long as they go through; True once the cause is over."""
        while not self._stopping and not self._lost:
            incoming = await self._next_probe(cause)
            if incoming is not None and await self._crew.handle_one(incoming) is not None:
                return False
            if self._blockers.is_over(cause):
                return True
            if incoming is None:
                return False
        return False

    async def _next_probe(self, cause: HoldCause) -> Incoming | None:
        """One that has not been tried if there is any: a message in trouble of its own must not keep all others."""
        held = self._crew.held
        kept = held.take_probe(cause)
        incoming = kept.incoming if kept else await self._supply.take_one()
        if incoming is None and (kept := held.take_probe(cause, again=True)) is not None:
            incoming = kept.incoming
        if incoming is not None:
            incoming.probed = True
        return incoming

    # -- parts of modes --------------------------------------------------------------------------------------

    async def _let_go_of_old(self) -> None:
        for kept in self._crew.held.take_older_than(self._settings.pause_hold_s):
            await self._crew.let_go(kept.incoming, kept.cause)

    async def _woken(self, within_s: float | None) -> None:
        """Wait until a callback has something to say, or so many seconds are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._wake.wait()
        self._wake.clear()

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        self._paused_gauge.set(paused)
        log.warning("paused" if paused else "resumed", channel=self._channel, cause=self._cause)

    # -- callbacks: they only note and wake ------------------------------------------------------------------

    def _deliver(self, incoming: Incoming) -> None:
        if is_suspect(incoming):
            self._set_aside.append(incoming)
            self._wake.set()
        else:
            self._crew.add(incoming)

    def _hold(self, cause: HoldCause) -> None:
        self._cause = cause
        self._crew.stop_starting()
        self._wake.set()

    def _trouble(self, lane: Lane | None) -> None:
        if lane is None:
            self._lost = True
            # None is to be mended by itself: all of them begin again, with one message in hand.
            self._supply.broken.clear()
        else:
            self._supply.broken.add(lane)
        self._wake.set()
