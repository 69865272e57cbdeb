"""Runs the tracker: ``python -m services.tracker``."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any

import structlog

from services.tracker.intake import Intake
from services.tracker.reconciler import Reconciler
from services.tracker.source import Source
from services.tracker.upkeep import Upkeep
from shared.broker.publisher import Publisher
from shared.broker.queue_depth import Sampler
from shared.broker.topology import EVENTS_LANE
from shared.errors import StoreUnavailable
from shared.health.heartbeat import Heartbeat
from shared.health.registry import TRACKER, WorkerState
from shared.health.server import WorkerHttp
from shared.logs import count_lost_lines
from shared.metrics import Metrics
from shared.process.collector import calm_collector
from shared.redis.client import async_client
from shared.settings.settings import Settings
from shared.store.store import Store
from shared.store.threads import CONNECTIONS, StoreThreads
from shared.worker.run import PORTS_BETWEEN_REPLICAS, run_process

log = structlog.get_logger(__name__)

NAME = TRACKER


class Tracker:
    """Builds the parts of the process. ``start`` and ``close`` belong around ``run``."""

    def __init__(self, settings: Settings, store: Store, threads: StoreThreads, metrics: Metrics) -> None:
        self._name = f"{NAME}@{socket.gethostname()}:{os.getpid()}"
        self._settings, self._metrics = settings, metrics
        self.publisher = Publisher(
            settings.broker.url,
            f"{self._name} publishes",
            levels_s=settings.broker.retry_levels_s,
            deadline_s=settings.broker.publish_deadline_s,
            max_pending=settings.broker.publish_max_pending,
            metrics=metrics,
        )
        self.intake = Intake(store, threads, self.publisher, metrics, settings.events.days)
        self.source = Source(settings.broker.url, self._name, self.intake, metrics)
        self.sampler = Sampler(lanes=(EVENTS_LANE,))
        self._upkeep = Upkeep(store, threads, settings.events.days)
        self._reconciler = (
            Reconciler(
                store,
                threads,
                self.publisher,
                self.sampler,
                self.intake,
                metrics,
                after_s=settings.events.reconcile_after_s,
                recorded_s=settings.idempotency.done_ttl_s,
            )
            # One of several is enough.
            if settings.events.reconcile_after_s and settings.worker.replica == 0
            else None
        )

    def health(self) -> dict[str, Any]:
        """Returns the document of ``/health``: ``unhealthy`` without the broker, ``degraded`` without the database."""
        up = self.source.state != "down"
        status = "unhealthy" if not up else "healthy" if self.intake.store_up else "degraded"
        return {"status": status, "queue": EVENTS_LANE.queue, **self.state()}

    def state(self) -> dict[str, Any]:
        """Returns the heartbeat. ``ready`` is None while it is not known."""
        return {
            "store": "up" if self.intake.store_up else "down",
            "ready": self.sampler.ready(EVENTS_LANE),
            "in_flight": self.intake.in_flight,
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Works until ``stop`` is set. Raises TopologyMismatch, SchemaMismatch, or the error of a task that died."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            redis = async_client(settings.redis.url)
            stack.push_async_callback(redis.aclose)
            self.publisher.start()
            stack.push_async_callback(self.publisher.close)
            self.source.start()
            stack.push_async_callback(self.source.close)
            port = settings.events.port + PORTS_BETWEEN_REPLICAS * settings.worker.replica
            http = WorkerHttp(settings.worker_listen_host, port, "TRACKER_PORT", self.health, self._metrics)
            await http.start()
            stack.push_async_callback(http.stop)
            state = WorkerState(redis, NAME, self._name, settings.worker.heartbeat_s)
            heartbeat = Heartbeat(state, settings.worker.heartbeat_s, self.state, lambda _: None)
            log.info("tracker_started", port=port)
            calm_collector()
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(work) for work in self._work()]
                    group.create_task(heartbeat.run())
                    await stop.wait()
                    heartbeat.stop()
                    for task in tasks:
                        task.cancel()
            except ExceptionGroup as died:
                raise died.exceptions[0] from None
        log.info("tracker_stopped")

    def _work(self) -> Iterator[Coroutine[Any, Any, Any]]:
        yield self.publisher.connection.watch()
        yield self.source.connection.watch()
        yield self.source.run()
        yield self.intake.run()
        yield self.sampler.run(self.publisher.connection)
        yield self._upkeep.run()
        if self._reconciler is not None:
            yield self._reconciler.run()


async def main(settings: Settings) -> None:
    """Runs the tracker until SIGTERM or SIGINT."""
    metrics = Metrics()
    count_lost_lines(metrics.log_lines_lost.inc)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        store = Store(settings.database.url, CONNECTIONS)
        stack.callback(store.close)
        threads = StoreThreads()
        stack.push_async_callback(threads.close)
        try:
            await threads.read(store.check_schema)
        except StoreUnavailable as exc:
            # It is checked again before the first write.
            log.warning("store_not_checked", error=str(exc))
        await Tracker(settings, store, threads, metrics).run(stop)


if __name__ == "__main__":
    run_process(NAME, main)
