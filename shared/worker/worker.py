"""Drives one channel's lanes from mode to mode (see ``modes``), and shuts down gracefully."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from shared.broker.channel import BROKER_FAILURES
from shared.broker.consumer import Consumer
from shared.broker.incoming import Incoming
from shared.message.channels import lanes_of
from shared.message.outcome import HoldCause
from shared.metrics import Metrics
from shared.settings.settings import Settings
from shared.worker.executor import Executor
from shared.worker.forwards import Forwards
from shared.worker.handler import Handler
from shared.worker.modes import Flow, Mode
from shared.worker.pause import Blockers, Held, Pause
from shared.worker.poison import is_suspect
from shared.worker.signals import Signals
from shared.worker.supply import BrokenLanes, Supply, share_prefetch

log = structlog.get_logger(__name__)

#: Pause after an error of the broker, so that a lasting fault does not become a hot loop, seconds.
PAUSE_AFTER_REFUSAL_S = 1.0


class Worker:
    """Consumes one channel; there is one worker per process. ``run`` returns after ``stop``."""

    def __init__(
        self,
        channel: str,
        consumer: Consumer,
        executor: Executor,
        forwards: Forwards,
        held: Held,
        signals: Signals,
        flow: Flow,
        pause: Pause,
        metrics: Metrics,
        *,
        shutdown_s: float,
    ) -> None:
        self._channel = channel
        self._consumer = consumer
        self._executor = executor
        self.forwards = forwards
        self._held = held
        self._signals = signals
        self._pause = pause
        self._shutdown_s = shutdown_s
        self._modes: dict[Mode, Callable[[], Awaitable[Mode]]] = {
            "careful": flow.careful,
            "wide": flow.wide,
            "alone": flow.alone,
            "paused": pause.run,
        }
        metrics.in_flight.labels(channel).set_function(lambda: self.in_flight)

    @property
    def paused(self) -> bool:
        return self._pause.active

    @property
    def in_flight(self) -> int:
        """Returns the number of unacked messages: being handled, waiting to start, held, or suspects set aside."""
        return self._executor.in_flight + len(self._held) + len(self._signals.suspects)

    @property
    def broken_lanes(self) -> list[str]:
        """Returns the queues of the lanes that should flow and do not, most urgent first."""
        broken = set(self._signals.broken)
        return [lane.queue for lane in lanes_of(self._channel) if lane in broken]

    @property
    def broker_up(self) -> bool:
        return self._consumer.state != "down"

    def stop(self) -> None:
        """Asks ``run`` to finish the messages in flight and return; safe in a signal handler."""
        self._signals.stop()

    async def run(self) -> None:
        """Consumes until ``stop``.

        Raises TopologyMismatch if a queue exists with other arguments, and any other error that has ended the
        connection's supervision or the modes. Messages in flight are finished first, within ``shutdown_s`` seconds.
        """
        self._consumer.start()
        drive = asyncio.create_task(self._drive(), name="modes")
        watch = asyncio.create_task(self._consumer.connection.watch(), name="consuming connection")
        stopped = asyncio.create_task(self._signals.stopped.wait())
        try:
            done, _ = await asyncio.wait((drive, watch, stopped), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._executor.stop_starting()
            for task in (drive, watch, stopped):
                task.cancel()
            await asyncio.gather(drive, watch, stopped, return_exceptions=True)
            await self._shut_down()

    async def _shut_down(self) -> None:
        await self._consumer.cancel_when_settled()
        if not await self._executor.finish(self._shutdown_s):
            log.warning("stopped_with_messages_in_flight", in_flight=self.in_flight)
            await self._executor.abandon()
        if not self._signals.connection_lost:
            await self._pause.forward_held()
            suspects, self._signals.suspects = self._signals.suspects, deque()
            await self._executor.record_untried(suspects)
        await self._consumer.close()

    async def _drive(self) -> None:
        mode: Mode = "careful"
        while not self._signals.stopped.is_set():
            try:
                if await self._reconnected():
                    mode = "careful"
                mode = await self._modes[mode]()
            except BROKER_FAILURES as exc:
                log.warning("lanes_interrupted", channel=self._channel, error=str(exc) or repr(exc))
                self._executor.stop_starting()
                mode = "careful"
                await self._declare_again()

    async def _reconnected(self) -> bool:
        """Waits for the connection; returns True if it is a new one, so that the worker must start in mode careful."""
        signals = self._signals
        await self._consumer.wait_up()
        if not signals.connection_lost:
            return False
        signals.connection_lost = False
        # Only messages of closed channels are dropped: a lane under repair may have delivered on the new connection.
        signals.suspects = deque(incoming for incoming in signals.suspects if not incoming.is_void)
        self._executor.forget_void()
        self._held.forget_void()
        await self._consumer.cancel()
        return True

    async def _declare_again(self) -> None:
        """Waits a moment after a broker error (a missing queue, for example), then declares everything."""
        await asyncio.sleep(PAUSE_AFTER_REFUSAL_S)
        with contextlib.suppress(*BROKER_FAILURES):
            await self._consumer.declare()


def build_worker(
    channel: str,
    settings: Settings,
    handler: Handler,
    forwards: Forwards,
    blockers: Blockers,
    metrics: Metrics,
    name: str,
) -> Worker:
    """Builds the worker of one channel around its handler. ``name`` is the name of its connection at the broker."""
    lanes = lanes_of(channel)
    signals = Signals(BrokenLanes(channel, metrics))
    held = Held()

    def hold(incoming: Incoming, cause: HoldCause) -> None:
        held.keep(incoming, cause)
        signals.hold(cause)

    executor = Executor(handler, forwards, settings.worker.prefetch, hold)

    def deliver(incoming: Incoming) -> None:
        if is_suspect(incoming):
            signals.suspect(incoming)
        else:
            executor.add(incoming)

    consumer = Consumer(
        settings.broker.url,
        name,
        lanes=lanes,
        levels_s=settings.broker.retry_levels_s,
        on_delivery=deliver,
        on_trouble=signals.trouble,
        metrics=metrics,
    )
    supply = Supply(consumer, share_prefetch(settings.worker.prefetch, lanes), signals.broken)
    flow = Flow(channel, executor, held, supply, signals, settings.worker.shutdown_s)
    pause = Pause(
        channel,
        executor,
        held,
        supply,
        signals,
        handler,
        blockers,
        metrics,
        probe_s=settings.breaker.probe_s,
        hold_s=settings.worker.pause_hold_s,
        finish_s=settings.worker.shutdown_s,
    )
    return Worker(
        channel,
        consumer,
        executor,
        forwards,
        held,
        signals,
        flow,
        pause,
        metrics,
        shutdown_s=settings.worker.shutdown_s,
    )
